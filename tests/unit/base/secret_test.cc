#include "base/secret.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace dupengine {
namespace {

// What the kernel says of the pages that hold this byte (proc(5), smaps: VmFlags).
std::string flags_of(const void* byte) {
    const auto at = reinterpret_cast<std::uintptr_t>(byte);
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0, end = 0;
        char dash = 0;
        std::istringstream words(line);
        if (words >> std::hex >> begin >> dash >> end && dash == '-') here = begin <= at && at < end;
        if (here && line.starts_with("VmFlags:")) return line + " ";
    }
    return "";
}

TEST(Secret, IsNeitherDumpedNorInheritedNorSwappedOut) {
    Secret secret(10000);
    secret.all()[9999] = std::byte{1};
    for (const std::byte* byte : {&secret.all().front(), &secret.all().back()}) {
        const std::string flags = flags_of(byte);
        for (const char* flag : {" lo ", " dd ", " dc "})
            EXPECT_NE(flags.find(flag), std::string::npos) << flag << "of" << flags;
    }
    const int other = 0;
    EXPECT_EQ(flags_of(&other).find(" dd "), std::string::npos) << "everything has these flags";
}

TEST(Secret, IsOverwrittenWhereItIsGivenUpAndMovesWithoutACopy) {
    Secret secret(8);
    for (std::byte& byte : secret.all())
        byte = std::byte{0x5A};
    const std::byte* const place = secret.all().data();
    secret.shorten(3);
    EXPECT_EQ(secret.size(), 3u);
    EXPECT_EQ(place[2], std::byte{0x5A});
    EXPECT_EQ(place[3], std::byte{0});
    EXPECT_EQ(place[7], std::byte{0});
    const Secret moved(std::move(secret));
    EXPECT_EQ(moved.all().data(), place);
    EXPECT_EQ(moved.size(), 3u);
    EXPECT_EQ(Secret(0).size(), 0u);
}

TEST(Secret, AProcessThatHoldsKeysLeavesNoCore) {
    const pid_t child = ::fork();
    if (child == 0) {
        forbid_core_dumps();
        ::_exit(::prctl(PR_GET_DUMPABLE));
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace dupengine

// What is looked at before a system is left for another one.

#include "machine/next_system.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MadeUpMachine : public testing::Test {
  protected:
    void put(const std::string& path, const std::string& text) const {
        const std::filesystem::path file = folder_.file(path);
        std::filesystem::create_directories(file.parent_path());
        write_file_atomic(file, as_bytes(text), 0644, Code::kInternal);
    }
    std::vector<std::string> obstacles() const { return obstacles_to_leaving(folder_.path()); }

    test::ScratchFolder folder_;
};

TEST_F(MadeUpMachine, WithoutSystemdNothingStopsInOrder) {
    put("1/comm", "sh\n");
    put("sys/kernel/kexec_load_disabled", "0\n");
    EXPECT_THAT(obstacles(), Contains(HasSubstr("systemd does not run here")));
    put("1/comm", "systemd\n");
    EXPECT_THAT(obstacles(), ::testing::Not(Contains(HasSubstr("systemd"))));
}

TEST_F(MadeUpMachine, AKernelThatLoadsNoOtherOneIsSaid) {
    put("1/comm", "systemd\n");
    EXPECT_THAT(obstacles(), Contains(HasSubstr("loads no other one")));
    put("sys/kernel/kexec_load_disabled", "1\n");
    EXPECT_THAT(obstacles(), Contains(HasSubstr("loads no other one")));
    put("sys/kernel/kexec_load_disabled", "0\n");
    EXPECT_THAT(obstacles(), ::testing::Not(Contains(HasSubstr("loads no other one"))));
}

TEST(CommandLine, IsSplitAsTheKernelDoes) {
    EXPECT_THAT(split_command_line("a  b=\"c d\" e=f\n"), ElementsAre("a", "b=\"c d\"", "e=f"));
    EXPECT_THAT(split_command_line(" \n"), ElementsAre());
}

}  // namespace
}  // namespace dupengine::machine

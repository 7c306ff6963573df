#include "tests/support/aged_filesystem.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {

testing::internal::ParamGenerator<std::uint64_t> aged_seeds() {
    const char* wanted = std::getenv("DUPENGINE_SEEDS");
    return testing::Range<std::uint64_t>(1, 1 + (wanted != nullptr ? std::stoull(wanted) : 20));
}

Mount::Mount(const std::string& device, const std::string& folder, const std::string& type,
             const std::string& options)
    : folder_(folder) {
    std::filesystem::create_directories(folder);
    std::vector<std::string> argv = {"mount", "-t", type};
    if (!options.empty()) argv.insert(argv.end(), {"-o", options});
    argv.insert(argv.end(), {device, folder});
    must_run(argv);
}

// Who had a file of it open, and was killed or lost its parent (the live process, a guardian), ends a moment
// after whoever waited for a sign of it. Till then the filesystem is busy, and one try would leave it mounted
// for ever.
Mount::~Mount() {
    constexpr int kTries = 500;
    constexpr std::chrono::milliseconds kPause{20};
    for (int i = 0; i < kTries && ::umount2(folder_.c_str(), 0) != 0 && errno == EBUSY; ++i)
        std::this_thread::sleep_for(kPause);
}

void Churn::change() {
    const std::string path = fmt::format("{}/{}/{}", folder_, random_.below(4), random_.below(60));
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    if (random_.below(5) == 0) {
        std::filesystem::remove(path);
        return;
    }
    const Fd fd = open_path(path, O_RDWR | O_CREAT, Code::kInternal);
    struct stat st {};
    ::fstat(fd.get(), &st);
    const auto size = static_cast<std::uint64_t>(st.st_size);
    switch (random_.below(5)) {
        case 0: {
            const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
            ::fallocate(fd.get(), mode, static_cast<off_t>(random_.below(size + 1)), 20000);
            break;
        }
        case 1:
            ::fallocate(fd.get(), 0, static_cast<off_t>(size), static_cast<off_t>(1 + random_.below(90000)));
            break;
        case 2:
            EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(random_.below(size + 1))), 0);
            break;
        default: {
            Bytes content(1 + random_.below(random_.below(8) == 0 ? 900000 : 20000));
            fill_pattern(content, random_.next());
            pwrite_exact(fd.get(), random_.below(size + 50000), content, Code::kInternal, path);
        }
    }
    if (random_.below(4) == 0 && ::fsync(fd.get()) != 0)
        throw_errno(Code::kInternal, errno, "{}: fsync", path);
}

void expect_same_mounted(const ScratchFolder& scratch, const std::string& image, const std::string& copy,
                         const std::string& type, const std::string& options) {
    const std::string one = scratch.file("one"), other = scratch.file("other");
    {
        const LoopDevice loop(image);
        const Mount mount(loop.path(), scratch.file("mnt-one"), type, options);
        must_run({"cp", "-a", scratch.file("mnt-one"), one});
    }
    // One after the other: a filesystem and its copy have the same identifiers.
    const LoopDevice loop(copy);
    const Mount mount(loop.path(), other, type, options);
    const RunResult result = run_program({"diff", "-r", "--no-dereference", one, other});
    EXPECT_EQ(result.status, 0) << result.complaint();
    EXPECT_FALSE(std::filesystem::is_empty(one));
}

}  // namespace dupengine::test

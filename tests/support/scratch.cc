#include "tests/support/scratch.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "block/open.h"
#include "codec/digest.h"

namespace dupengine::test {

ScratchFolder::ScratchFolder() {
    const char* temporary = std::getenv("TMPDIR");
    const bool shm = ::access("/dev/shm", W_OK) == 0;
    path_ = std::string(shm                    ? "/dev/shm"
                        : temporary != nullptr ? temporary
                                               : "/tmp") +
            "/dupengine-test-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) throw_errno(Code::kInternal, errno, "{}: cannot be made", path_);
}

ScratchFolder::~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string ScratchFolder::sparse_file(const std::string& name, std::uint64_t size_bytes) const {
    const Fd fd = open_path(file(name), O_RDWR | O_CREAT | O_TRUNC, Code::kInternal);
    if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
        throw_errno(Code::kInternal, errno, "{}: cannot be sized", name);
    return file(name);
}

namespace {

// The partitions that partx made known outlive the binding: the next file would seem to have them, and
// mkfs.vfat makes no filesystem there.
void forget_partitions(const std::string& device) {
    const std::string name = device.substr(device.rfind('/') + 1);
    for (const auto& entry : std::filesystem::directory_iterator("/sys/block/" + name))
        if (entry.path().filename().string().starts_with(name + "p")) {
            run_program({"partx", "-d", device});
            return;
        }
}

// The file below a loop device; empty if nothing is attached.
std::string backing_of(const std::string& device) {
    std::ifstream file("/sys/block/" + device.substr(device.rfind('/') + 1) + "/loop/backing_file");
    std::string name;
    std::getline(file, name);
    return name;
}

}  // namespace

LoopDevice::LoopDevice(const std::string& file, const Options& options) {
    std::vector<std::string> argv = {"losetup", "--find", "--show", "--sector-size",
                                     std::to_string(options.sector_bytes)};
    if (options.read_only) argv.emplace_back("--read-only");
    if (options.offset_bytes != 0)
        argv.insert(argv.end(), {"--offset", std::to_string(options.offset_bytes)});
    if (options.size_bytes != 0) argv.insert(argv.end(), {"--sizelimit", std::to_string(options.size_bytes)});
    argv.push_back(file);
    path_ = must_run(argv);
    while (!path_.empty() && path_.back() == '\n')
        path_.pop_back();
    forget_partitions(path_);
}

LoopDevice::~LoopDevice() {
    const std::string backing = backing_of(path_);
    try {
        forget_partitions(path_);
        run_program({"losetup", "--detach", path_});
    } catch (const std::exception&) {
        // Nothing a destructor could do about it; the next losetup --find takes another device.
    }
    // Whoever has it open at this moment, a program that looks at all devices, keeps it attached until it is
    // through. Till then the file would count as in use by whatever is tested next.
    constexpr int kTries = 500;
    constexpr std::chrono::milliseconds kPause{20};
    for (int i = 0; i < kTries && !backing.empty() && backing_of(path_) == backing; ++i)
        std::this_thread::sleep_for(kPause);
}

PartitionNodes::PartitionNodes(const LoopDevice& disk) : disk_(disk.path()) {
    run_program({"partx", "-d", disk_});  // those that a kernel found by itself
    must_run({"partx", "-a", disk_});
}

PartitionNodes::~PartitionNodes() {
    run_program({"bash", "-c", "swapoff " + disk_ + "p* 2>/dev/null; partx -d " + disk_});
}

std::string must_run(const std::vector<std::string>& argv, const RunOptions& options) {
    const RunResult result = run_program(argv, options);
    if (result.status != 0) {
        std::string line;
        for (const std::string& word : argv)
            line += word + " ";
        throw_error(Code::kInternal, "{}failed: {}", line, result.complaint());
    }
    return result.out;
}

RunResult run_dupengine(const std::vector<std::string>& arguments, const RunOptions& options) {
    std::vector<std::string> argv = {test::command()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run_program(argv, options);
}

std::string file_sha256(const std::string& path) {
    const auto reader = block::open_source(path);
    return to_hex(codec::sha256_of(*reader, {0, reader->geometry().size_bytes}));
}

}  // namespace dupengine::test

#pragma once
// Scratch space and real devices for tests: a folder on tmpfs that goes away, loop devices that are detached,
// programs that must succeed. Everything is undone by destructors, also when a test fails.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/subprocess.h"
#include "tests/support/paths.h"

namespace dupengine::test {

class ScratchFolder {
  public:
    ScratchFolder();  ///< below /dev/shm (tmpfs), or $TMPDIR where there is none
    ~ScratchFolder();
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }
    /// A sparse file of this size.
    std::string sparse_file(const std::string& name, std::uint64_t size_bytes) const;

  private:
    std::string path_;
};

/// A loop device over a file. Needs root.
class LoopDevice {
  public:
    struct Options {
        bool read_only = false;
        std::uint32_t sector_bytes = 512;
        std::uint64_t offset_bytes = 0;
        std::uint64_t size_bytes = 0;  ///< 0: to the end
    };
    LoopDevice(const std::string& file, const Options& options);
    explicit LoopDevice(const std::string& file) : LoopDevice(file, Options{}) {}
    ~LoopDevice();
    LoopDevice(const LoopDevice&) = delete;
    LoopDevice& operator=(const LoopDevice&) = delete;
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// The partitions of a loop device as devices of their own (PATHp1, ...), also where the kernel knows no
/// tables.
class PartitionNodes {
  public:
    explicit PartitionNodes(const LoopDevice& disk);
    /// Swap on them is switched off.
    ~PartitionNodes();
    PartitionNodes(const PartitionNodes&) = delete;
    PartitionNodes& operator=(const PartitionNodes&) = delete;

  private:
    std::string disk_;
};

/// Runs a program and throws (failing the test) with its complaint unless it exits with 0. Returns its
/// stdout.
std::string must_run(const std::vector<std::string>& argv, const RunOptions& options = {});
/// Runs the dupengine command under test.
RunResult run_dupengine(const std::vector<std::string>& arguments, const RunOptions& options = {});

/// SHA-256 of a whole file, for comparisons.
std::string file_sha256(const std::string& path);

}  // namespace dupengine::test

#pragma once
// A machine that runs while it is duplicated, as far as one process can be one: a disk with a mounted ext4
// that a program writes to, and memory made of files that it writes to, too. What was there in the moment in
// which all was at rest is kept. It lives on over many duplications. Needs root.

#include <atomic>
#include <optional>
#include <thread>

#include "machine/live_process.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/fake_memory.h"

namespace dupengine::test {

/// What happens to it; the live process writes it, too, so it is in memory that both share.
struct PausesSeen {
    std::atomic<int> prepared{0}, resumed{0}, aborted{0}, gate_closed{0}, gate_opened{0};
    std::atomic<bool> is_at_rest{false};  ///< since the last start_over()
    /// All stays at rest until it is false again, but for no longer than kLongestHold.
    std::atomic<bool> is_held{false};
    static constexpr std::chrono::milliseconds kLongestHold{5000};
};

class BusyMachine {
  public:
    static constexpr std::uint64_t kDiskBytes = 24 * kMiB;
    static constexpr block::Extent kRoot{kMiB, 17 * kMiB};  ///< partition 1; behind it nothing

    BusyMachine();
    ~BusyMachine();
    BusyMachine(const BusyMachine&) = delete;
    BusyMachine& operator=(const BusyMachine&) = delete;

    const std::string& disk() const { return loop_.path(); }
    /// In its filesystem.
    std::string file(const std::string& name) const { return folder_.file("root/" + name); }
    const FakeMemory& memory() const { return memory_; }
    /// What brings it to rest.
    machine::LiveOptions options();

    PausesSeen& seen() { return seen_; }
    void start_over();
    /// Whether its program gets on within a few seconds, and has met no error.
    bool is_at_work() const;
    /// The longest time that a write took since start_over().
    std::chrono::milliseconds longest_stall() const;

    /// As they were when all was at rest last.
    Bytes disk_at_rest() const;
    Bytes image_at_rest() const;

  private:
    void work(const std::stop_token& over);
    void keep_disk() const;

    ScratchFolder folder_;
    LoopDevice loop_;
    std::optional<PartitionNodes> nodes_;
    std::optional<Mount> mount_;
    std::unique_ptr<block::Reader> reader_;
    FakeMemory memory_;
    PausesSeen& seen_;
    Fd disk_, image_;  // with the live process
    std::atomic<std::uint64_t> steps_{0}, errors_{0};
    std::atomic<std::int64_t> longest_ms_{0};
    std::jthread program_;
};

}  // namespace dupengine::test

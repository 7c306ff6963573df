#pragma once
// A machine's memory made of files: what /proc/kcore and /proc/kpageflags would show, and an image of it as a
// kernel makes it.

#include <map>
#include <string>

#include "base/random.h"
#include "machine/physical_memory.h"
#include "machine/snapshot_device.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

class FakeMemory {
  public:
    /// Two ranges with a hole between them, as PCs have.
    FakeMemory();

    std::string proc() const { return folder_.file("proc"); }
    static constexpr std::uint64_t kFirst = 1, kHole = 700, kSecond = 1000, kEnd = 1900;
    static bool is_memory(std::uint64_t page) {
        return (page >= kFirst && page < kHole) || (page >= kSecond && page < kEnd);
    }

    void put(std::uint64_t page, std::span<const std::byte> bytes);
    Bytes get(std::uint64_t page) const;
    void set_flags(std::uint64_t page, std::uint64_t flags);
    /// Fills pages that are memory with random bytes, and leaves every fourth as zeros.
    void fill(RandomSource& random);
    /// Changes some words of a page.
    void scribble(std::uint64_t page, std::uint64_t value);

    /// As /dev/snapshot gives it now: of the pages that are not free. `marks_zeros`: as kernels from 6.7 on.
    std::vector<Bytes> image(bool marks_zeros = false) const;

  private:
    ScratchFolder folder_;
    Fd kcore_, flags_;
};

/// Makes images of it, and counts what it was asked for.
class FakeSnapshot final : public machine::SnapshotMaker {
  public:
    struct Seen {
        unsigned freezes = 0, thaws = 0, frees = 0;
    };
    explicit FakeSnapshot(const FakeMemory& memory) : memory_(memory) {}
    void freeze() override {}
    bool create() override;
    bool next_page(std::span<std::byte> page) override;
    void free_image() noexcept override {}
    void thaw() noexcept override {}

  private:
    const FakeMemory& memory_;
    std::vector<Bytes> image_;
    std::size_t next_ = 0;
};

}  // namespace dupengine::test

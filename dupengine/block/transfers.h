#pragma once
// Transfers under way: reads and writes are handed in, the kernel works on many at once (io_uring, with its
// buffers registered), and they come back done, in any order, each with the tag it was handed in with. A
// device that cannot take part (memory, a file in the page cache) transfers at once and reports it done:
// whoever waits sees no difference. Where the kernel offers no io_uring everything is transferred at once.
// Promises: never more than `most` under way; the buffers stay until the kernel is through with them, also
// when an error unwinds. One thread per object.

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace dupengine::block {

/// Finishes what the kernel did only in part or not at all: with its own retries, or an error that says why.
class Finisher {
  public:
    virtual void finish_read(ByteOffset offset, std::span<std::byte> buffer, int error) const = 0;
    virtual void finish_write(ByteOffset offset, std::span<const std::byte> buffer, int error) const = 0;

  protected:
    ~Finisher() = default;
};

class Transfers {
  public:
    /// `buffer_bytes` of memory for all buffers, at most `most` transfers at once.
    Transfers(std::size_t buffer_bytes, unsigned most);
    /// Waits for what is under way; what it came to is lost.
    ~Transfers();
    Transfers(const Transfers&) = delete;
    Transfers& operator=(const Transfers&) = delete;

    /// All buffers lie in here. Aligned for direct transfers.
    std::span<std::byte> memory() { return memory_; }
    struct Done {
        std::uint64_t tag = 0;
        std::exception_ptr error;  ///< what it failed with (Finisher); null if all of it was transferred
    };
    /// The next transfer that is done. Only while any is under way.
    Done wait();
    bool any_under_way() const { return under_way_ != 0 || !done_.empty(); }
    /// The next wait() takes no time: what was transferred at once, or the kernel has finished already.
    bool any_done() const;

    // For devices.

    /// Hands a transfer to the kernel; false if it takes none now, and the device has to do it at once.
    bool start_read(std::uint64_t tag, int fd, ByteOffset offset, std::span<std::byte> buffer,
                    const Finisher& finisher);
    bool start_write(std::uint64_t tag, int fd, ByteOffset offset, std::span<const std::byte> buffer,
                     const Finisher& finisher);
    void done(std::uint64_t tag) { done_.push_back(tag); }

  private:
    struct Ring;
    struct Transfer {
        std::uint64_t tag = 0;
        const Finisher* finisher = nullptr;
        ByteOffset offset = 0;
        std::byte* begin = nullptr;
        std::size_t size = 0;
        bool is_write = false;
    };
    bool start(const Transfer& transfer, int fd);

    std::span<std::byte> memory_;
    std::unique_ptr<Ring> ring_;  // null: nobody asked for it yet, or the kernel offers none
    bool asked_for_ring_ = false;
    std::vector<Transfer> transfers_;  // by their place in the ring
    std::vector<unsigned> free_;       // places
    std::deque<std::uint64_t> done_;   // transferred at once
    unsigned under_way_ = 0;
};

}  // namespace dupengine::block

#pragma once
// One connection to a qemu-nbd beside us. It is never waited for without end: each question has a deadline,
// and can be given up. A connection of which an answer was given up is closed, because that answer would come
// into a buffer that is somebody else's by then. One thread at a time. libnbd stays behind this header.

#include <chrono>
#include <functional>
#include <string>

#include "block/extent.h"

struct nbd_handle;

namespace dupengine::image {

class NbdConnection {
  public:
    /// How long an answer is waited for.
    struct Patience {
        std::chrono::milliseconds deadline{300'000};  // a disk that tries again takes minutes
        std::function<bool()> ended = [] { return false; };
    };

    /// `name` is for messages. Throws kSourceIo if nobody listens at `socket`, or it does not answer in time;
    /// kInterrupted if `patience` ended. So do all others.
    NbdConnection(const std::string& socket, std::string name, const Patience& patience);
    ~NbdConnection();
    NbdConnection(const NbdConnection&) = delete;
    NbdConnection& operator=(const NbdConnection&) = delete;

    std::uint64_t size_bytes() const;
    /// At most some megabytes.
    void read(ByteOffset offset, std::span<std::byte> buffer, const Patience& patience);
    /// What the server knows of the bytes from its begin on.
    struct Map {
        block::Extent known;
        std::vector<block::Extent> data;  ///< all else of `known` is zero
    };
    /// From the begin of `asked` on, as far as one answer goes; it can go beyond. Nothing known: it does not
    /// tell.
    Map map(block::Extent asked, const Patience& patience);

  private:
    // Until `done` says so.
    void wait(const std::function<bool()>& done, const Patience& patience);
    void finish(std::int64_t command, const char* what, const Patience& patience);
    void close();
    [[noreturn]] void fail(const std::string& what, const std::string& reason);
    ::nbd_handle* handle() const;

    std::string name_;
    ::nbd_handle* handle_;  // null once it is closed
};

}  // namespace dupengine::image

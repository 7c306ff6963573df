#pragma once
// Stored chunks that were fetched from far away, kept in a folder for the next time: a file for each pack,
// with holes where nothing was fetched. Only what was held against its digest is put in, and whoever takes it
// out holds it against its digest again; so it needs no order of writes, several runs may use it at once, and
// damage costs another fetch. What was used longest ago goes when there is too much. A disk that is full or
// broken ends the keeping, never the run. From any thread.

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

#include "base/fd.h"
#include "image/chunk_list.h"

namespace dupengine::image {

class PackCache {
  public:
    /// The folder is made if it is missing. Throws kRefused if it cannot be, or if others may write to it.
    PackCache(std::string folder, std::uint64_t limit_bytes);

    /// False if it is not all there. What is there may be anything.
    bool read(const PackId& pack, ByteOffset offset, std::span<std::byte> buffer) const;
    /// Whether read() may be worth it.
    bool may_have(const PackId& pack, ByteOffset offset, std::size_t bytes) const;
    void keep(const PackId& pack, ByteOffset offset, std::span<const std::byte> bytes);

  private:
    using Shared = std::shared_ptr<const Fd>;
    Shared open(const PackId& pack, int flags) const;
    void make_room() const;

    std::string folder_;
    std::uint64_t limit_bytes_;
    std::atomic<bool> is_full_{false};  // or broken: nothing more is kept
    std::atomic<std::uint64_t> kept_{0};
    mutable std::mutex mutex_;
    struct Open {
        PackId pack{};
        Shared fd;
    };
    mutable std::list<Open> open_;  // the one used last first
};

}  // namespace dupengine::image

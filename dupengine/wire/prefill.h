#pragma once
// What the other end told before it was asked: the bytes that planning will read. Kept as they came, packed.
// From any thread.

#include <map>
#include <mutex>

#include "wire/message.h"

namespace dupengine::wire {

class PrefillStore {
  public:
    /// What is more than kMostStored is left out, and has to be asked for.
    void add(const Prefill& prefill);
    /// Fills the buffer if all of it is here.
    bool read(ByteOffset offset, std::span<std::byte> buffer) const;
    void clear();

    static constexpr std::size_t kMostStored = 24 * kMiB;

  private:
    struct Part {
        std::size_t size = 0;  // of the disk
        Bytes pieces;
    };
    const Bytes* unpacked(ByteOffset begin, const Part& part) const;
    mutable std::mutex mutex_;
    std::map<ByteOffset, Part> parts_;
    std::size_t stored_ = 0;
    mutable std::optional<ByteOffset> unpacked_at_;  // the part that was read last
    mutable Bytes unpacked_;
};

}  // namespace dupengine::wire

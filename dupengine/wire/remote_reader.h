#pragma once
// A disk at the other end of a connection, as a disk: what a copy reads from. What planning reads was told
// before it is asked for, what copying reads is asked for in the order of the plan, and what the target holds
// already is told by digest, so that only the rest travels, and is asked for before it is waited for. A
// connection that breaks is replaced underneath (link.h). At most about 50 MiB for a disk of any size, beside
// the extents that it is told to expect. From any thread; expect() before others read.

#include <map>
#include <memory>
#include <mutex>

#include "block/changes.h"
#include "wire/data_map.h"
#include "wire/digest_ahead.h"
#include "wire/prefill.h"
#include "wire/read_ahead.h"

namespace dupengine::wire {

class RemoteReader final : public block::Reader {
  public:
    /// Waits until the other end has told what planning needs. `link` outlives it. Throws as Link.
    explicit RemoteReader(Link& link);

    const block::Geometry& geometry() const override { return link_.opened().geometry; }
    /// "HOST:PORT /dev/sda", to people.
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    /// Of what is expected, all is read in order; what is not expected of the range is zeros.
    void start_read(block::Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                    std::span<std::byte> buffer, From from) const override;
    block::Extent next_data(block::Extent within) const override { return map_.next_data(within); }
    void expect(const block::ExtentSet& data) const override;
    std::uint64_t known_piece_bytes() const override { return kPieceBytes; }
    bool holds(ByteOffset offset, std::span<const std::byte> bytes) const override;
    bool will_read(block::Extent extent) const override;
    std::optional<std::string> known_signature(block::Extent part) const override;

    /// It is in use there, and rounds tell what is written meanwhile.
    bool is_hot() const { return link_.opened().is_hot; }
    /// The round after the one that was asked for last. Throws kPeer for one that cannot be.
    block::Changes next_round() const;
    /// With the last round: what the other end tells of it (message.h), as it came; empty: nothing.
    const std::string& report() const { return report_; }
    /// The memory that goes with it; null: none.
    const OfferedMemory* memory() const { return link_.opened().memory ? &*link_.opened().memory : nullptr; }
    /// The group of memory after the one before; nothing: that was all. While there is none yet it waits.
    /// From one thread. Throws kInterrupted if it was stopped.
    std::optional<Bytes> next_group(const std::stop_token& stop) const;
    /// How the source changed since the other end offered it; empty if it did not.
    std::string change() const;

  private:
    void ask(ByteOffset offset, std::span<std::byte> buffer, From from) const;
    Link::Asked asked_before(block::Extent extent) const;
    void forget_what_was_asked() const;
    void check_inside(ByteOffset offset, std::size_t size) const;
    void refuse_contradictions(ByteOffset offset, std::span<const std::byte> bytes) const;

    Link& link_;
    std::string name_;
    mutable DataMap map_;
    mutable PrefillStore prefill_;
    std::vector<Known> known_;
    mutable block::ExtentSet expected_;
    mutable std::unique_ptr<ReadAhead> read_ahead_;  // null: nothing is expected yet
    mutable std::unique_ptr<DigestAhead> digests_;
    mutable std::mutex wanted_mutex_;
    mutable std::map<ByteOffset, std::pair<block::Extent, Link::Asked>> wanted_;  // will_read() of these
    mutable std::uint32_t rounds_ = 0, groups_ = 0;
    mutable Link::Asked next_group_;
    mutable std::string report_;
};

}  // namespace dupengine::wire

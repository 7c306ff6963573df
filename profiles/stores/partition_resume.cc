#include "profiles/stores/partition_resume.h"

#include <algorithm>
#include <iterator>

#include "base/aligned_buffer.h"
#include "profiles/stores/partition.h"

namespace dupengine::profiles {
namespace {

using Piece = layout::TableImage::Piece;

constexpr std::uint64_t kUnit = 512;  // nothing smaller is torn

// The bytes that an init would write, and which of them it draws at random.
struct Expected {
    ByteOffset offset = 0;
    Bytes content;
    Bytes varies;  // not zero: may be anything

    block::Extent extent() const { return {offset, offset + content.size()}; }
};

StoredProfile with_secret(const StoredProfile& first, RandomSource& random) {
    StoredProfile other = first;
    Bytes secret(other.secret.bytes.size());
    random.fill(secret);
    other.secret.bytes = as_text(secret);
    return other;
}

layout::PartitionTable with_guids(const PartitionPlan& plan, RandomSource& random) {
    layout::PartitionTable table = plan.table;
    table.disk_guid = random.guid();
    for (layout::Partition& p : table.partitions)
        p.guid = random.guid();
    return table;
}

// Without the zeros that fill it up: what stands nowhere in the pieces must be zero anyway.
Bytes short_slot(const StoredProfile& content) {
    Bytes slot = encode_slot(content);
    while (slot.size() > kUnit && is_zero(std::span(slot).last(kUnit)))
        slot.resize(slot.size() - kUnit);
    return slot;
}

std::vector<Piece> written_by(const PartitionPlan& plan, const StoredProfile& first, std::uint64_t disk_bytes,
                              RandomSource& random) {
    std::vector<Piece> pieces{{plan.partition.extent.begin, short_slot(with_secret(first, random))}};
    layout::TableImage image = layout::encode_table(with_guids(plan, random), disk_bytes);
    for (auto* from : {&image.primary, &image.backup})
        std::move(from->begin(), from->end(), std::back_inserter(pieces));
    return pieces;
}

// Where runs with other random bytes differ, those bytes are random, or a checksum over such.
std::vector<Expected> expected_of(const PartitionPlan& plan, const StoredProfile& first,
                                  std::uint64_t disk_bytes) {
    constexpr unsigned kRuns = 8;  // a byte that is the same in all of them by chance: 256^-7
    SeededRandom random(1);
    std::vector<Expected> all;
    for (Piece& piece : written_by(plan, first, disk_bytes, random)) {
        Bytes varies(piece.content.size());
        all.push_back({piece.offset, std::move(piece.content), std::move(varies)});
    }
    for (unsigned run = 1; run < kRuns; ++run) {
        const std::vector<Piece> other = written_by(plan, first, disk_bytes, random);
        for (std::size_t i = 0; i < all.size(); ++i)
            for (std::size_t at = 0; at < all[i].content.size(); ++at)
                all[i].varies[at] |= all[i].content[at] ^ other[i].content[at];
    }
    return all;
}

enum class Match {
    kNone,
    kOnlyRandom,  // nothing in it could tell it from anybody's bytes
    kOurs
};

Match match(std::span<const std::byte> found, const Expected& expected, ByteOffset at) {
    Match result = Match::kOnlyRandom;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::size_t k = static_cast<std::size_t>(at - expected.offset) + i;
        if (expected.varies[k] != std::byte{0}) continue;
        if (found[i] != expected.content[k]) return Match::kNone;
        if (found[i] != std::byte{0}) result = Match::kOurs;
    }
    return result;
}

// Judges what was found on the disk, unit by unit.
class Judge {
  public:
    Judge(const PartitionPlan& plan, const StoredProfile& first, std::uint64_t disk_bytes)
        : expected_(expected_of(plan, first, disk_bytes)) {}

    void look_at(std::span<const std::byte> bytes, ByteOffset base) {
        if (is_zero(bytes)) return;
        for (std::size_t i = 0; i < bytes.size(); i += kUnit) {
            const auto unit = bytes.subspan(i, kUnit);
            if (!is_zero(unit)) note(match_at(unit, base + i));
        }
    }
    bool is_ours() const { return any_ours_ && !any_foreign_; }

  private:
    Match match_at(std::span<const std::byte> unit, ByteOffset at) const {
        for (const Expected& expected : expected_)
            if (expected.extent().contains(block::Extent{at, at + kUnit})) return match(unit, expected, at);
        return Match::kNone;
    }
    void note(Match matched) {
        any_ours_ = any_ours_ || matched == Match::kOurs;
        any_foreign_ = any_foreign_ || matched == Match::kNone;
    }

    std::vector<Expected> expected_;
    bool any_ours_ = false, any_foreign_ = false;
};

}  // namespace

bool holds_rest_of_init(const block::Reader& disk, const PartitionPlan& plan, const StoredProfile& first) {
    const std::uint64_t size = disk.geometry().size_bytes;
    Judge judge(plan, first, size);
    AlignedBuffer buffer(kMiB);
    for (const block::Extent part : extents_to_write(plan, size))
        for (ByteOffset at = part.begin; at < part.end; at += kMiB) {
            const auto bytes = buffer.first(std::min<std::uint64_t>(kMiB, part.end - at));
            disk.read(at, bytes);
            judge.look_at(bytes, at);
        }
    return judge.is_ours();
}

bool holds_first_profile(const block::Reader& disk, block::Extent place, const StoredProfile& first) {
    const Slots slots = read_slots(disk, place);
    return slots.newest && slots.newest->text == first.text && slots.newest->generation == first.generation &&
           slots.slots[1].state == SlotState::kBlank;
}

bool is_table_of_cut_init(const block::Reader& disk, const layout::PartitionTable& table,
                          const StoredProfile& first) {
    if (table.kind != layout::TableKind::kGpt) return false;
    const bool whole = table.primary_valid && table.backup_valid && !is_zero(table.sector0);
    const auto place = profile_place_in(table, disk.name());
    return !whole && place && holds_first_profile(disk, place->extent, first);
}

}  // namespace dupengine::profiles

#pragma once
// The format of a profile store on its medium: two slots, of which an update always writes the one that is
// not the newest good one, so that a cut at any moment leaves a good one. A slot is believed only if its
// header's checksum, its bounds and the SHA-256 of its payload hold. Never writes outside the region it is
// given; never prints or returns in a message what a payload holds. Not for several writers at once: stores
// open their medium exclusively.
//
// A region has at least 2 MiB: slot 0 at byte 0, slot 1 at byte 1 MiB, both of 1 MiB. What follows is left
// alone here (image_history.h). A slot, integers little-endian (dupengine-profile(5) has the same
// table):
//
//   offset  size  field
//   0       16    magic "DUPENGINE-SLOT-1"
//   16      4     format version, 1
//   20      4     offset of the payload in the slot, 4096
//   24      8     generation, from 1; the good slot with the larger one is the newest
//   32      4     size of the secret, 32
//   36      4     size of the text, at most 524288
//   40      32    SHA-256 of the payload
//   72      4     flags, 0; a reader refuses a slot with flags it does not know
//   76      4     CRC-32 (IEEE 802.3) of bytes 0 to 75
//   4096    32    payload: the node's secret ...
//   4128    ...   ... and the profile, exactly the bytes of its TOML text; empty: no profile yet
//
// All other bytes of a slot are zero: an update overwrites all of it, and nothing of an older profile stays
// behind. A short slot, for a store that is no region of bytes (stores/variables.h), has its payload at byte
// 80 and ends with it.

#include <array>
#include <optional>
#include <string>

#include "block/guard.h"
#include "profiles/profile.h"
#include "profiles/slot_format.h"

namespace dupengine::profiles {

inline constexpr std::uint64_t kSlotBytes = slot::kBytes;
inline constexpr std::uint64_t kStoreMinimumBytes = 2 * kSlotBytes;
inline constexpr std::size_t kProfileTextLimit = slot::kTextLimit;

/// What one slot holds.
struct StoredProfile {
    std::uint64_t generation = 0;
    std::string text;
    NodeSecret secret;
};

enum class SlotState {
    kGood,
    kBlank,       ///< nothing but zeros where a header would be: never written
    kForeign,     ///< a slot of a version or with flags that this program does not know
    kUnreadable,  ///< the medium fails
    kDamaged      ///< anything else
};

struct Slots {
    struct Slot {
        SlotState state = SlotState::kBlank;
        std::string reason;  ///< why it is not good, one line
        std::uint64_t generation = 0;
    };
    std::array<Slot, 2> slots;
    std::optional<StoredProfile> newest;
    unsigned newest_slot = 0;  ///< if there is a newest

    bool blank() const { return slots[0].state == SlotState::kBlank && slots[1].state == SlotState::kBlank; }
    /// "slot 0: bad header checksum; slot 1: never written"
    std::string reasons() const;
    /// Puts in what slot `number` holds, the first one first. `content` counts if the slot is good.
    void add(unsigned number, Slot slot, StoredProfile content);
};

/// Reads both slots from the medium. Throws kRefused only if the region is too small; what cannot be read or
/// believed is told in the result. Two good slots of one generation: the first counts.
Slots read_slots(const block::Reader& device, block::Extent region);

/// The newest profile, or kIntegrity with both reasons and what can be done; `name` is the store's.
StoredProfile newest_or_throw(const Slots& slots, const std::string& name);

/// Throws kRefused unless a new store may be made over what is there: nothing but blank slots or, with
/// `replace_damaged`, slots of which none can be used. A slot of another version is never replaced.
void check_replaceable(const Slots& slots, const std::string& name, bool replace_damaged);

/// Writes `next` into the slot that is not the newest good one, flushes, and reads it back from the medium.
/// Throws kRefused if the generation does not grow, or a slot is of a version that this program does not
/// know; kTargetIo or kIntegrity if it could not be written or came back different: then the old profile
/// still stands.
void write_slot(block::Target& target, block::Extent region, const StoredProfile& next);

/// The slot that is to be overwritten by `next`. Throws as write_slot() where nothing may be.
unsigned slot_to_write(const Slots& slots, const StoredProfile& next, const std::string& name);

/// The kSlotBytes bytes of a slot. Throws kRefused if the text is too large.
Bytes encode_slot(const StoredProfile& content);
/// Reads the bytes of one slot into `content` if it is good.
Slots::Slot decode_slot(std::span<const std::byte> bytes, StoredProfile& content);

/// The same of a short slot.
Bytes encode_short_slot(const StoredProfile& content);
Slots::Slot decode_short_slot(std::span<const std::byte> bytes, StoredProfile& content);

}  // namespace dupengine::profiles

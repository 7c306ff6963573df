#include "profiles/slots.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "codec/digest.h"
#include "profiles/slot_format.h"

namespace dupengine::profiles {
namespace {

using namespace slot;

block::Extent slot_extent(block::Extent region, unsigned slot) {
    const ByteOffset begin = region.begin + slot * kSlotBytes;
    return {begin, begin + kSlotBytes};
}

void check_region(const block::Reader& device, block::Extent region) {
    if (region.size() < kStoreMinimumBytes || region.end > device.geometry().size_bytes)
        throw_error(Code::kRefused, "{}: {} is too small for a profile store, which needs {} bytes",
                    device.name(), region.text(), kStoreMinimumBytes);
}

Slots::Slot bad(SlotState state, std::string reason) {
    return {state, std::move(reason), 0};
}

// Checks that come before anything of the slot is believed. Empty state kGood: go on.
Slots::Slot check_header(std::span<const std::byte> bytes, std::size_t payload_offset) {
    if (bytes.size() < payload_offset) return bad(SlotState::kDamaged, "cut short");
    const auto header = bytes.first(kHeaderEnd);
    if (is_zero(bytes.first(payload_offset))) return bad(SlotState::kBlank, "never written");
    if (as_text(header.first(kMagic.size())) != std::string_view(kMagic.data(), kMagic.size()))
        return bad(SlotState::kDamaged, "no header");
    if (crc32(header.first(kChecksumAt)) != load_le<std::uint32_t>(header, kChecksumAt))
        return bad(SlotState::kDamaged, "bad header checksum");
    const auto version = load_le<std::uint32_t>(header, kVersionAt);
    const auto flags = load_le<std::uint32_t>(header, kFlagsAt);
    if (version != kVersion || flags != 0)
        return bad(SlotState::kForeign,
                   fmt::format("format version {} with flags {:#x}, made by another version of "
                               "this program",
                               version, flags));
    return {};
}

Slots::Slot read_one(const block::Reader& device, block::Extent slot, StoredProfile& content) {
    AlignedBuffer buffer(kSlotBytes);
    try {
        device.read_from_medium(slot.begin, buffer.all());
    } catch (const Error& e) {
        return bad(SlotState::kUnreadable, e.what());
    }
    return decode_slot(buffer.all(), content);
}

// The bytes up to the end of the payload.
Bytes encode(const StoredProfile& content, std::uint32_t payload_offset) {
    if (content.text.size() > kProfileTextLimit)
        throw_error(Code::kRefused, "a profile of {} bytes; at most {} fit into a store", content.text.size(),
                    kProfileTextLimit);
    if (content.secret.bytes.size() != kSecretBytes)
        throw_error(Code::kInternal, "a node secret of {} bytes", content.secret.bytes.size());
    Bytes bytes(payload_offset + kSecretBytes + content.text.size());
    const std::span<std::byte> all(bytes);
    const auto put = [&](std::size_t at, std::string_view text) {
        std::copy_n(as_bytes(text).begin(), text.size(), all.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(payload_offset, content.secret.bytes);
    put(payload_offset + kSecretBytes, content.text);
    put(0, {kMagic.data(), kMagic.size()});
    store_le<std::uint32_t>(all, kVersionAt, kVersion);
    store_le<std::uint32_t>(all, kPayloadOffsetAt, payload_offset);
    store_le<std::uint64_t>(all, kGenerationAt, content.generation);
    store_le<std::uint32_t>(all, kSecretSizeAt, kSecretBytes);
    store_le<std::uint32_t>(all, kTextSizeAt, static_cast<std::uint32_t>(content.text.size()));
    put(kDigestAt, as_text(codec::sha256(all.subspan(payload_offset))));
    store_le<std::uint32_t>(all, kChecksumAt, crc32(all.first(kChecksumAt)));
    return bytes;
}

Slots::Slot decode(std::span<const std::byte> bytes, std::uint32_t payload_offset, StoredProfile& content) {
    const Slots::Slot checked = check_header(bytes, payload_offset);
    if (!checked.reason.empty()) return checked;
    const auto payload_at = load_le<std::uint32_t>(bytes, kPayloadOffsetAt);
    const auto generation = load_le<std::uint64_t>(bytes, kGenerationAt);
    const auto secret_size = load_le<std::uint32_t>(bytes, kSecretSizeAt);
    const auto text_size = load_le<std::uint32_t>(bytes, kTextSizeAt);
    if (payload_at != payload_offset || secret_size != kSecretBytes || text_size > kProfileTextLimit ||
        generation == 0)
        return bad(SlotState::kDamaged, "impossible numbers in its header");
    if (bytes.size() - payload_offset < kSecretBytes + text_size)
        return bad(SlotState::kDamaged, "cut short");
    const auto payload = bytes.subspan(payload_offset, kSecretBytes + text_size);
    const auto digest = codec::sha256(payload);
    if (!std::equal(digest.begin(), digest.end(), bytes.begin() + kDigestAt))
        return bad(SlotState::kDamaged, "bad checksum of its content");
    content.generation = generation;
    content.secret.bytes = as_text(payload.first(kSecretBytes));
    content.text = as_text(payload.subspan(kSecretBytes));
    return {SlotState::kGood, "", generation};
}

}  // namespace

std::string Slots::reasons() const {
    return fmt::format("slot 0: {}; slot 1: {}", slots[0].reason.empty() ? "good" : slots[0].reason,
                       slots[1].reason.empty() ? "good" : slots[1].reason);
}

void Slots::add(unsigned number, Slot slot, StoredProfile content) {
    slots[number] = std::move(slot);
    const bool newer = !newest || content.generation > newest->generation;
    if (slots[number].state != SlotState::kGood || !newer) return;
    newest = std::move(content);
    newest_slot = number;
}

unsigned slot_to_write(const Slots& slots, const StoredProfile& next, const std::string& name) {
    for (const Slots::Slot& slot : slots.slots)
        if (slot.state == SlotState::kForeign)
            throw_error(Code::kRefused, "{}: holds a profile of {}; use that version", name, slot.reason);
    // What cannot be read may be the newest profile; with another good one at hand it may go.
    for (const Slots::Slot& slot : slots.slots)
        if (slot.state == SlotState::kUnreadable && !slots.newest)
            throw_error(Code::kTargetIo, "{}: no profile can be read, so nothing is written: {}", name,
                        slot.reason);
    const std::uint64_t newest = slots.newest ? slots.newest->generation : 0;
    if (next.generation <= newest)
        throw_error(Code::kRefused, "{}: generation {} is not larger than {}, which is there already", name,
                    next.generation, newest);
    return slots.newest ? 1 - slots.newest_slot : 0;
}

Bytes encode_slot(const StoredProfile& content) {
    Bytes bytes = encode(content, kPayloadOffset);
    bytes.resize(kSlotBytes);
    return bytes;
}

Bytes encode_short_slot(const StoredProfile& content) {
    return encode(content, kShortPayloadOffset);
}

Slots::Slot decode_slot(std::span<const std::byte> bytes, StoredProfile& content) {
    if (bytes.size() != kSlotBytes) return bad(SlotState::kDamaged, "cut short");
    return decode(bytes, kPayloadOffset, content);
}

Slots::Slot decode_short_slot(std::span<const std::byte> bytes, StoredProfile& content) {
    StoredProfile found;
    const Slots::Slot slot = decode(bytes, kShortPayloadOffset, found);
    if (slot.state == SlotState::kGood &&
        bytes.size() != kShortPayloadOffset + kSecretBytes + found.text.size())
        return bad(SlotState::kDamaged, "longer than it says");
    if (slot.state == SlotState::kGood) content = std::move(found);
    return slot;
}

Slots read_slots(const block::Reader& device, block::Extent region) {
    check_region(device, region);
    Slots result;
    for (unsigned i = 0; i < 2; ++i) {
        StoredProfile content;
        Slots::Slot slot = read_one(device, slot_extent(region, i), content);
        result.add(i, std::move(slot), std::move(content));
    }
    return result;
}

StoredProfile newest_or_throw(const Slots& slots, const std::string& name) {
    if (slots.newest) return *slots.newest;
    if (slots.blank())
        throw_error(Code::kIntegrity,
                    "{}: the store has never been written; run: dupengine profile init --store {}", name,
                    name);
    throw_error(Code::kIntegrity,
                "{}: neither copy of the profile can be used ({}); \"dupengine profile init "
                "--replace-damaged\" makes a "
                "new store with a new node secret: what is derived from it will differ",
                name, slots.reasons());
}

void check_replaceable(const Slots& slots, const std::string& name, bool replace_damaged) {
    if (slots.newest)
        throw_error(Code::kRefused,
                    "{}: there is a profile already (generation {}); change it with: dupengine profile "
                    "set --store {} FILE.toml",
                    name, slots.newest->generation, name);
    if (slots.blank()) return;
    for (const Slots::Slot& slot : slots.slots)
        if (slot.state == SlotState::kForeign)
            throw_error(Code::kRefused, "{}: holds a profile of {}; use that version", name, slot.reason);
    if (replace_damaged) return;
    throw_error(Code::kRefused,
                "{}: a profile was there, but neither copy can be used ({}); with --replace-damaged it is "
                "given up for "
                "a new one with a new node secret: what is derived from it will differ",
                name, slots.reasons());
}

void write_slot(block::Target& target, block::Extent region, const StoredProfile& next) {
    const unsigned slot = slot_to_write(read_slots(target, region), next, target.name());
    const Bytes encoded = encode_slot(next);
    const block::Extent place = slot_extent(region, slot);
    AlignedBuffer buffer(kSlotBytes);
    std::copy(encoded.begin(), encoded.end(), buffer.all().begin());
    target.write(place.begin, buffer.all());
    target.flush();
    target.read_from_medium(place.begin, buffer.all());
    if (!std::equal(encoded.begin(), encoded.end(), buffer.all().begin()))
        throw_error(Code::kIntegrity,
                    "{}: the profile came back different from slot {}; the old one still stands",
                    target.name(), slot);
}

}  // namespace dupengine::profiles

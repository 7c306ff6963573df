#include "efi/core/slot.h"

#include "efi/core/sha256.h"
#include "profiles/slot_format.h"

namespace dupengine::efi {
namespace {

namespace slot = profiles::slot;

constexpr TextView kNeverWritten = "the store was never written";

TextView check_header(Bytes header, std::uint32_t payload_offset) {
    const Bytes start = header.first(slot::kHeaderEnd);
    if (is_zero(header)) return kNeverWritten;
    if (as_text(start.first(slot::kMagic.size())) != TextView(slot::kMagic.data(), slot::kMagic.size()))
        return "there is no header";
    if (crc32(start.first(slot::kChecksumAt)) != load_le<std::uint32_t>(start, slot::kChecksumAt))
        return "the checksum of its header is wrong";
    if (load_le<std::uint32_t>(start, slot::kVersionAt) != slot::kVersion ||
        load_le<std::uint32_t>(start, slot::kFlagsAt) != 0)
        return "it was made by another version of dupengine";
    if (load_le<std::uint32_t>(start, slot::kPayloadOffsetAt) != payload_offset ||
        load_le<std::uint32_t>(start, slot::kSecretSizeAt) != slot::kSecretBytes ||
        load_le<std::uint32_t>(start, slot::kTextSizeAt) > slot::kTextLimit ||
        load_le<std::uint64_t>(start, slot::kGenerationAt) == 0)
        return "the numbers in its header are impossible";
    return {};
}

std::size_t payload_bytes(Bytes header) {
    return slot::kSecretBytes + load_le<std::uint32_t>(header, slot::kTextSizeAt);
}

TextView decode(Bytes bytes, std::uint32_t payload_offset, StoredProfile& found) {
    if (bytes.size() < payload_offset) return "it is cut short";
    const Bytes header = bytes.first(payload_offset);
    if (const TextView reason = check_header(header, payload_offset); !reason.empty()) return reason;
    const std::size_t size = payload_bytes(header);
    if (bytes.size() - payload_offset < size) return "it is cut short";
    const Bytes payload = bytes.subspan(payload_offset, size);
    if (!equal(sha256(payload), header.subspan(slot::kDigestAt, sizeof(Sha256))))
        return "the checksum of its content is wrong";
    found = {load_le<std::uint64_t>(header, slot::kGenerationAt),
             as_text(payload.subspan(slot::kSecretBytes))};
    return {};
}

TextView read_slot(Disk& disk, std::uint64_t begin, Buffer scratch, StoredProfile& found) {
    const Buffer header = scratch.first(slot::kPayloadOffset);
    if (!disk.read(begin, header)) return "it cannot be read";
    if (const TextView reason = check_header(header, slot::kPayloadOffset); !reason.empty()) return reason;
    const std::uint32_t sector = disk.sector_bytes();
    const std::size_t end = (slot::kPayloadOffset + payload_bytes(header) + sector - 1) / sector * sector;
    if (!disk.read(begin + header.size(), scratch.subspan(header.size(), end - header.size())))
        return "it cannot be read";
    return decode_slot(scratch.first(end), found);
}

}  // namespace

TextView decode_slot(Bytes bytes, StoredProfile& found) {
    return decode(bytes, slot::kPayloadOffset, found);
}

TextView decode_short_slot(Bytes bytes, StoredProfile& found) {
    StoredProfile all;
    const TextView reason = decode(bytes, slot::kShortPayloadOffset, all);
    if (!reason.empty()) return reason;
    if (bytes.size() != slot::kShortPayloadOffset + slot::kSecretBytes + all.text.size())
        return "it is longer than it says";
    found = all;
    return {};
}

TextView choose_slot(std::span<const TextView, 2> reasons, std::span<const StoredProfile, 2> seen,
                     std::size_t& newest) {
    if (!reasons[0].empty() && !reasons[1].empty())
        return reasons[0] == kNeverWritten ? reasons[1] : reasons[0];
    newest = seen[1].generation > seen[0].generation ? 1 : 0;
    return {};
}

TextView read_newest_slot(Disk& disk, const Partition& store, Buffer scratch, StoredProfile& found) {
    if (store.end - store.begin < 2 * std::uint64_t{slot::kBytes}) return "the store is too small";
    std::array<TextView, 2> reasons;
    std::array<StoredProfile, 2> seen;
    for (std::size_t i = 0; i < 2; ++i)
        reasons[i] = read_slot(disk, store.begin + i * slot::kBytes, scratch, seen[i]);
    std::size_t newest = 0;
    if (const TextView reason = choose_slot(reasons, seen, newest); !reason.empty()) return reason;
    if (newest == 1) return (found = seen[1], TextView());
    // The memory holds the other one by now.
    return read_slot(disk, store.begin, scratch, found);
}

}  // namespace dupengine::efi

#include "layout/ntfs_record.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kFixupUnit = 512;
constexpr std::uint64_t kStreamLimit = std::uint64_t{1} << 63;  // bytes
constexpr std::uint16_t kNotPlain = 0xC0FF;                     // compressed (low byte), encrypted, sparse

// A number of 1 to 8 bytes, little-endian, signed.
std::int64_t load_short(std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    const auto unused = static_cast<unsigned>(64 - 8 * bytes.size());
    return static_cast<std::int64_t>(value << unused) >> unused;
}

// "Data Runs": pairs of a length and the distance from the cluster where the run before began. The low and
// the high half of a byte before them say how many bytes they have; no distance makes a hole.
void parse_runs(std::span<const std::byte> pairs, const NtfsVolume& volume, NtfsAttribute& attribute) {
    std::uint64_t at = attribute.first;
    std::int64_t cluster = 0;
    while (!pairs.empty() && pairs[0] != std::byte{0}) {
        const auto header = std::to_integer<unsigned>(pairs[0]);
        const std::size_t length_bytes = header & 0x0F, distance_bytes = header >> 4;
        if (length_bytes == 0 || length_bytes > 8 || distance_bytes > 8 ||
            pairs.size() < 1 + length_bytes + distance_bytes)
            throw_error(Code::kIntegrity, "a data run with the header {:#x}", header);
        const std::int64_t length = load_short(pairs.subspan(1, length_bytes));
        if (length <= 0) throw_error(Code::kIntegrity, "a data run of {} clusters", length);
        const auto count = static_cast<std::uint64_t>(length);
        if (distance_bytes != 0) {
            const std::int64_t distance = load_short(pairs.subspan(1 + length_bytes, distance_bytes));
            if (__builtin_add_overflow(cluster, distance, &cluster) || cluster < 0 ||
                count > volume.clusters || static_cast<std::uint64_t>(cluster) > volume.clusters - count)
                throw_error(Code::kIntegrity, "a data run of {} clusters outside the volume", count);
            attribute.runs.push_back({at, static_cast<std::uint64_t>(cluster), count});
        }
        at = checked_add(at, count, "data runs");
        pairs = pairs.subspan(1 + length_bytes + distance_bytes);
    }
    if (pairs.empty()) throw_error(Code::kIntegrity, "data runs without an end");
    if (at != attribute.end)
        throw_error(Code::kIntegrity, "data runs of {} clusters where {} were promised", at - attribute.first,
                    attribute.end - attribute.first);
}

NtfsAttribute parse_attribute(std::span<const std::byte> bytes, const NtfsVolume& volume) {
    NtfsAttribute attribute;
    attribute.type = static_cast<NtfsType>(load_le<std::uint32_t>(bytes, 0));
    attribute.resident = load_le<std::uint8_t>(bytes, 8) == 0;
    attribute.plain = (load_le<std::uint16_t>(bytes, 12) & kNotPlain) == 0;
    const std::size_t name_bytes = load_le<std::uint8_t>(bytes, 9) * 2u,
                      name_at = load_le<std::uint16_t>(bytes, 10);
    if (name_bytes != 0) {
        if (name_at > bytes.size() || name_bytes > bytes.size() - name_at)
            throw_error(Code::kIntegrity, "the name of an attribute passes its end");
        attribute.name = as_text(bytes.subspan(name_at, name_bytes));
    }
    if (attribute.resident) {
        const std::size_t size = load_le<std::uint32_t>(bytes, 16), at = load_le<std::uint16_t>(bytes, 20);
        if (at > bytes.size() || size > bytes.size() - at)
            throw_error(Code::kIntegrity, "the value of an attribute passes its end");
        const auto value = bytes.subspan(at, size);
        attribute.value.assign(value.begin(), value.end());
        return attribute;
    }
    attribute.first = load_le<std::uint64_t>(bytes, 16);
    attribute.end = load_le<std::uint64_t>(bytes, 24) + 1;  // the last one is -1 where there is none
    const std::size_t runs_at = load_le<std::uint16_t>(bytes, 32);
    if (attribute.end < attribute.first || attribute.end > kStreamLimit / volume.cluster_bytes ||
        runs_at > bytes.size())
        throw_error(Code::kIntegrity, "an attribute of the clusters {} to {}", attribute.first,
                    attribute.end);
    if (attribute.first == 0) {
        attribute.data_bytes = load_le<std::uint64_t>(bytes, 48);
        attribute.initialized_bytes = load_le<std::uint64_t>(bytes, 56);
    }
    parse_runs(bytes.subspan(runs_at), volume, attribute);
    return attribute;
}

}  // namespace

void undo_ntfs_fixups(std::span<std::byte> block, std::string_view magic) {
    if (as_text(block.first(magic.size())) != magic)
        throw_error(Code::kIntegrity, "no {} where one should be", magic);
    const std::size_t list = load_le<std::uint16_t>(block, 4), count = load_le<std::uint16_t>(block, 6);
    const std::size_t units = block.size() / kFixupUnit;
    if (count != units + 1 || list % 2 != 0 || list + 2 * count > kFixupUnit - 2)
        throw_error(Code::kIntegrity, "{} with {} fixups at byte {}", magic, count, list);
    const auto number = load_le<std::uint16_t>(block, list);
    for (std::size_t i = 0; i < units; ++i) {
        const std::size_t end = (i + 1) * kFixupUnit - 2;
        if (load_le<std::uint16_t>(block, end) != number)
            throw_error(Code::kIntegrity, "{} was written only in part", magic);
        store_le<std::uint16_t>(block, end, load_le<std::uint16_t>(block, list + 2 * (i + 1)));
    }
}

bool ntfs_record_is_in_use(std::span<const std::byte> bytes) {
    return (load_le<std::uint16_t>(bytes, 22) & 1) != 0;
}

NtfsRecord parse_ntfs_record(std::span<const std::byte> bytes, const NtfsVolume& volume) {
    NtfsRecord record;
    record.sequence = load_le<std::uint16_t>(bytes, 16);
    record.in_use = ntfs_record_is_in_use(bytes);
    record.base = load_le<std::uint64_t>(bytes, 32);
    if (load_le<std::uint16_t>(bytes, 4) >= 48) record.number = load_le<std::uint32_t>(bytes, 44);
    std::size_t at = load_le<std::uint16_t>(bytes, 20);
    const std::size_t end = load_le<std::uint32_t>(bytes, 24);
    if (end > bytes.size() || at % 8 != 0 || at < 42)
        throw_error(Code::kIntegrity, "a file record of {} bytes, attributes from byte {}", end, at);
    const auto used = bytes.first(end);
    while (static_cast<NtfsType>(load_le<std::uint32_t>(used, at)) != NtfsType::kEnd) {
        const std::size_t size = load_le<std::uint32_t>(used, at + 4);
        if (size < 24 || size % 8 != 0 || size > end - at)
            throw_error(Code::kIntegrity, "an attribute of {} bytes at byte {} of a file record", size, at);
        record.attributes.push_back(parse_attribute(used.subspan(at, size), volume));
        at += size;
    }
    return record;
}

std::string ntfs_name(std::string_view ascii) {
    std::string name;
    for (char c : ascii) {
        name += c;
        name += '\0';
    }
    return name;
}

}  // namespace dupengine::layout

#include "layout/lvm_label.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace dupengine::layout {
namespace {

using block::Extent;

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kInitialCrc = 0xf597a6cf;
constexpr std::size_t kIdBytes = 32;

struct Header {
    std::string id;  // without its dashes
    std::vector<Extent> metadata_areas;
    block::ExtentSet own;
};

// CRC-32 of IEEE 802.3 with a start of its own, and not inverted at the end; four bits at a time.
std::uint32_t lvm_crc(std::span<const std::byte> bytes) {
    constexpr std::array<std::uint32_t, 16> kTable = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    std::uint32_t value = kInitialCrc;
    for (std::byte b : bytes) {
        value ^= std::to_integer<std::uint32_t>(b);
        value = (value >> 4) ^ kTable[value & 15];
        value = (value >> 4) ^ kTable[value & 15];
    }
    return value;
}

bool is_label(std::span<const std::byte> sector, std::uint64_t number) {
    constexpr std::size_t kCrcFrom = 20;
    return as_text(sector.first(8)) == "LABELONE" && as_text(sector.subspan(24, 8)) == "LVM2 001" &&
           load_le<std::uint64_t>(sector, 8) == number &&
           load_le<std::uint32_t>(sector, 16) == lvm_crc(sector.subspan(kCrcFrom));
}

// Locations are pairs of 64-bit offset and size, up to a pair of zeros.
std::vector<Extent> read_locations(std::span<const std::byte> sector, std::size_t& at,
                                   std::uint64_t size_bytes) {
    std::vector<Extent> locations;
    for (;; at += 16) {
        const auto offset = load_le<std::uint64_t>(sector, at);
        const auto size = load_le<std::uint64_t>(sector, at + 8);
        if (offset == 0) {
            at += 16;
            return locations;
        }
        const std::uint64_t end = checked_add(offset, size, "LVM2 area");
        if (end > size_bytes) throw_error(Code::kIntegrity, "an area of it passes its end");
        locations.push_back({offset, end});
    }
}

// Behind the metadata areas, in labels that are new enough: version, flags, and where a boot loader may lie.
std::vector<Extent> read_boot_areas(std::span<const std::byte> sector, std::size_t at,
                                    std::uint64_t size_bytes) {
    constexpr std::size_t kVersionAndFlags = 8;
    if (at + kVersionAndFlags > sector.size() || load_le<std::uint32_t>(sector, at) == 0) return {};
    at += kVersionAndFlags;
    return read_locations(sector, at, size_bytes);
}

Header read_header(const block::Reader& part) {
    constexpr std::uint64_t kLabelSectors = 4;  // the label is in one of the first
    for (std::uint64_t number = 0; number < kLabelSectors; ++number) {
        const Bytes sector = block::read_extent(part, {number * kSector, (number + 1) * kSector});
        if (!is_label(sector, number)) continue;
        std::size_t at = load_le<std::uint32_t>(sector, 20);
        Header header;
        if (at > kSector - kIdBytes) throw_error(Code::kIntegrity, "its header lies outside its label");
        header.id = std::string(as_text(std::span(sector).subspan(at, kIdBytes)));
        at += kIdBytes + 8;  // and the size of the device
        read_locations(sector, at, part.geometry().size_bytes);
        header.metadata_areas = read_locations(sector, at, part.geometry().size_bytes);
        header.own.insert({number * kSector, (number + 1) * kSector});
        for (Extent area : header.metadata_areas)
            header.own.insert(area);
        for (Extent area : read_boot_areas(sector, at, part.geometry().size_bytes))
            header.own.insert(area);
        return header;
    }
    throw_error(Code::kIntegrity, "no valid LVM2 label");
}

// The area is a ring behind its header.
std::string read_ring(const block::Reader& part, Extent area, std::uint64_t offset, std::uint64_t size) {
    const std::uint64_t area_size = area.size();
    if (offset < kSector || offset >= area_size || size > area_size - kSector)
        throw_error(Code::kIntegrity, "its metadata lies outside its area");
    const std::uint64_t first = std::min(size, area_size - offset);
    Bytes bytes = block::read_extent(part, {area.begin + offset, area.begin + offset + first});
    const Bytes rest =
        block::read_extent(part, {area.begin + kSector, area.begin + kSector + (size - first)});
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    return std::string(as_text(bytes));
}

std::optional<std::string> read_metadata(const block::Reader& part, Extent area) {
    constexpr std::uint64_t kLargest = 64 * kMiB;
    if (area.size() <= kSector) throw_error(Code::kIntegrity, "a metadata area of {} bytes", area.size());
    const Bytes header = block::read_extent(part, {area.begin, area.begin + kSector});
    if (load_le<std::uint32_t>(header, 0) != lvm_crc(std::span(header).subspan(4)) ||
        as_text(std::span(header).subspan(4, 16)) != " LVM2 x[5A%r0N*>" ||
        load_le<std::uint32_t>(header, 20) != 1 || load_le<std::uint64_t>(header, 24) != area.begin)
        throw_error(Code::kIntegrity, "a metadata area with a damaged header");
    const auto offset = load_le<std::uint64_t>(header, 40);
    const auto size = load_le<std::uint64_t>(header, 48);
    constexpr std::uint32_t kIgnored = 1;
    const bool ignored = (load_le<std::uint32_t>(header, 60) & kIgnored) != 0;
    if (ignored || offset == 0 || size == 0) return {};
    if (size > kLargest) throw_error(Code::kIntegrity, "metadata of {} bytes", size);
    std::string text = read_ring(part, area, offset, size);
    if (lvm_crc(as_bytes(text)) != load_le<std::uint32_t>(header, 56))
        throw_error(Code::kIntegrity, "the checksum of its metadata is wrong");
    return text;
}

}  // namespace

LvmLabel read_lvm_label(const block::Reader& part) {
    const Header header = read_header(part);
    LvmLabel label{header.id, {}, header.own};
    for (Extent area : header.metadata_areas)
        if (auto text = read_metadata(part, area)) label.metadata.push_back(std::move(*text));
    return label;
}

}  // namespace dupengine::layout

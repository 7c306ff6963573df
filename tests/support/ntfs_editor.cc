#include "tests/support/ntfs_editor.h"

#include <algorithm>

namespace dupengine::test {
namespace {

constexpr std::size_t kRecord = 1024, kCluster = 1024;
constexpr std::uint32_t kListType = 0x20, kDataType = 0x80, kEndType = 0xFFFFFFFF;

}  // namespace

std::string make_ntfs(const ScratchFolder& scratch, const std::string& name, std::uint64_t size_bytes,
                      const std::vector<std::string>& arguments) {
    const std::string image = scratch.sparse_file(name, size_bytes);
    std::vector<std::string> argv = {"mkntfs", "-q", "-F", "-Q", "-p", "0", "-H", "255", "-S", "63"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.push_back(image);
    must_run(argv);
    return image;
}

ByteOffset NtfsEditor::record_at(std::uint64_t number) const {
    const std::uint64_t cluster =
        load_le<std::uint16_t>(content_, 11) * std::to_integer<unsigned>(content_[13]);
    return load_le<std::uint64_t>(content_, 48) * cluster + number * kRecord;
}

ByteOffset NtfsEditor::attribute_at(std::uint64_t number, std::uint32_t type, const std::string& name) const {
    std::string wide;
    for (char c : name)
        wide += std::string{c, '\0'};
    ByteOffset at = record_at(number) + load_le<std::uint16_t>(content_, record_at(number) + 20);
    for (;; at += load_le<std::uint32_t>(content_, at + 4)) {
        const auto found = load_le<std::uint32_t>(content_, at);
        if (found == kEndType)
            throw_error(Code::kInternal, "record {} has no attribute {:#x} {}", number, type, name);
        const std::size_t size = std::to_integer<std::size_t>(content_[at + 9]) * 2;
        const auto stored =
            as_text(std::span(content_).subspan(at + load_le<std::uint16_t>(content_, at + 10), size));
        if (found == type && stored == wide) return at;
    }
}

ByteOffset NtfsEditor::first_byte_of(std::uint64_t number, std::uint32_t type,
                                     const std::string& name) const {
    const ByteOffset at = attribute_at(number, type, name);
    const ByteOffset run = at + load_le<std::uint16_t>(content_, at + 32);
    const auto header = std::to_integer<unsigned>(content_[run]);
    std::uint64_t cluster = 0;
    for (unsigned i = header >> 4; i-- > 0;)
        cluster = cluster << 8 | std::to_integer<std::uint64_t>(content_[run + 1 + (header & 0x0F) + i]);
    return cluster * kCluster;
}

void NtfsEditor::set_volume_flags(std::uint16_t flags) {
    const ByteOffset at = attribute_at(3, 0x70);
    store_le<std::uint16_t>(content_, at + load_le<std::uint16_t>(content_, at + 20) + 10, flags);
}

void NtfsEditor::set_version(unsigned major, unsigned minor) {
    const ByteOffset at = attribute_at(3, 0x70), value = at + load_le<std::uint16_t>(content_, at + 20);
    content_[value + 8] = static_cast<std::byte>(major);
    content_[value + 9] = static_cast<std::byte>(minor);
}

void NtfsEditor::put_restart_page(unsigned which, const RestartPage& page) {
    const auto at = first_byte_of(2) + which * 4096;
    const auto bytes = std::span(content_).subspan(at, 4096);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    std::copy_n(as_bytes("RSTR").begin(), 4, bytes.begin());
    store_le<std::uint16_t>(bytes, 4, 30);
    store_le<std::uint16_t>(bytes, 6, 9);
    store_le<std::uint32_t>(bytes, 16, 4096);
    store_le<std::uint32_t>(bytes, 20, 4096);
    store_le<std::uint16_t>(bytes, 24, 48);
    store_le<std::uint64_t>(bytes, 48, page.lsn);
    store_le<std::uint16_t>(bytes, 48 + 12, page.client);
    store_le<std::uint16_t>(bytes, 48 + 14, page.flags);
}

void NtfsEditor::mark_free(std::uint64_t cluster) {
    const ByteOffset at = first_byte_of(6) + cluster / 8;
    content_[at] &= static_cast<std::byte>(~(1u << cluster % 8));
}

// The last two bytes of both sectors go to the list, and the number of the update stands in their place.
void NtfsEditor::put_fixups(std::uint64_t number) {
    const auto record = std::span(content_).subspan(record_at(number), kRecord);
    const std::size_t list = load_le<std::uint16_t>(record, 4);
    const auto update = load_le<std::uint16_t>(record, list);
    for (std::size_t i = 1; i <= 2; ++i) {
        store_le<std::uint16_t>(record, list + 2 * i, load_le<std::uint16_t>(record, i * 512 - 2));
        store_le<std::uint16_t>(record, i * 512 - 2, update);
    }
}

block::Extent NtfsEditor::split_bitmap() {
    const auto bitmap = first_byte_of(6);
    const std::uint64_t clusters = load_le<std::uint64_t>(content_, 40) * 512 / kCluster;
    const std::uint64_t kept = 1, count = (clusters + 8 * kCluster - 1) / (8 * kCluster),
                        moved = count - kept;
    const std::uint64_t to = clusters - 100;  // free in a fresh volume
    const auto from = content_.begin() + static_cast<std::ptrdiff_t>(bitmap + kept * kCluster);
    std::copy_n(from, moved * kCluster, content_.begin() + static_cast<std::ptrdiff_t>(to * kCluster));
    const auto set = [&](std::uint64_t cluster) {
        const std::uint64_t home = cluster / 8 / kCluster;
        const ByteOffset at = (home < kept ? bitmap : (to - kept) * kCluster) + cluster / 8;
        content_[at] |= static_cast<std::byte>(1u << cluster % 8);
    };
    for (std::uint64_t i = 0; i < moved; ++i)
        set(to + i);

    const ByteOffset base = record_at(6), data = attribute_at(6, kDataType),
                     extension = record_at(kExtension);
    const std::size_t size = load_le<std::uint32_t>(content_, data + 4);
    const Bytes attribute(content_.begin() + static_cast<std::ptrdiff_t>(data),
                          content_.begin() + static_cast<std::ptrdiff_t>(data + size));
    const auto sequence = load_le<std::uint16_t>(content_, base + 16);
    const std::uint64_t runs = load_le<std::uint16_t>(attribute, 32);
    const auto put_piece = [&](ByteOffset at, std::uint64_t first, std::uint64_t n, std::uint64_t cluster) {
        std::copy(attribute.begin(), attribute.end(), content_.begin() + static_cast<std::ptrdiff_t>(at));
        store_le<std::uint64_t>(content_, at + 16, first);
        store_le<std::uint64_t>(content_, at + 24, first + n - 1);
        content_[at + runs] = std::byte{0x31};
        content_[at + runs + 1] = static_cast<std::byte>(n);
        for (unsigned i = 0; i < 3; ++i)
            content_[at + runs + 2 + i] = static_cast<std::byte>(cluster >> 8 * i);
        content_[at + runs + 5] = std::byte{0};
    };

    // Record 6: the attributes before $DATA, a list of two entries, the first piece. The order of types is
    // not kept, which no reader may mind.
    constexpr std::size_t kEntry = 32, kListBytes = 24 + 2 * kEntry;
    put_piece(data, 0, kept, bitmap / kCluster);
    const ByteOffset list = data + size;
    std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(list), kListBytes + 8, std::byte{0});
    store_le<std::uint32_t>(content_, list, kListType);
    store_le<std::uint32_t>(content_, list + 4, kListBytes);
    store_le<std::uint32_t>(content_, list + 16, 2 * kEntry);
    store_le<std::uint16_t>(content_, list + 20, 24);
    for (std::uint64_t i = 0; i < 2; ++i) {
        const ByteOffset entry = list + 24 + i * kEntry;
        store_le<std::uint32_t>(content_, entry, kDataType);
        store_le<std::uint16_t>(content_, entry + 4, kEntry);
        content_[entry + 7] = std::byte{26};
        store_le<std::uint64_t>(content_, entry + 8, i == 0 ? 0 : kept);
        store_le<std::uint64_t>(
            content_, entry + 16,
            i == 0 ? 6 | std::uint64_t{sequence} << 48 : kExtension | std::uint64_t{1} << 48);
    }
    store_le<std::uint32_t>(content_, list + kListBytes, kEndType);
    store_le<std::uint32_t>(content_, base + 24, static_cast<std::uint32_t>(list + kListBytes + 8 - base));
    put_fixups(6);

    // The other record: a header like that of record 6, and the second piece.
    const std::size_t header = load_le<std::uint16_t>(content_, base + 20);
    std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(extension), kRecord, std::byte{0});
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(base), header,
                content_.begin() + static_cast<std::ptrdiff_t>(extension));
    store_le<std::uint16_t>(content_, extension + 16, 1);
    store_le<std::uint16_t>(content_, extension + 22, 1);
    store_le<std::uint32_t>(content_, extension + 24, static_cast<std::uint32_t>(header + size + 8));
    store_le<std::uint64_t>(content_, extension + 32, 6 | std::uint64_t{sequence} << 48);
    store_le<std::uint32_t>(content_, extension + 44, kExtension);
    put_piece(extension + header, kept, moved, to);
    store_le<std::uint32_t>(content_, extension + header + size, kEndType);
    put_fixups(kExtension);
    return {to * kCluster, (to + moved) * kCluster};
}

}  // namespace dupengine::test

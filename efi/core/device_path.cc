#include "efi/core/device_path.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kNodeHeader = 4;
constexpr std::byte kMedia{4}, kHardDrive{1}, kFile{4}, kEnd{0x7f}, kEndOfAll{0xff};
// Of a hard drive node (UEFI 2.10, 10.3.5.1).
constexpr std::size_t kHardDriveBytes = 42, kSignatureAt = 24, kSignatureTypeAt = 41;
constexpr std::byte kGuidSignature{2};

std::size_t node_bytes(Bytes nodes) {
    return load_le<std::uint16_t>(nodes, 2);
}

}  // namespace

Bytes path_nodes(Bytes most) {
    std::size_t at = 0;
    while (at + kNodeHeader <= most.size() && at <= kLongestDevicePath) {
        const Bytes node = most.subspan(at);
        if (node[0] == kEnd && node[1] == kEndOfAll) return most.first(at);
        if (node_bytes(node) < kNodeHeader || node_bytes(node) > node.size()) return {};
        at += node_bytes(node);
    }
    return {};
}

bool is_on(Bytes disk_nodes, Bytes nodes) {
    return !disk_nodes.empty() && nodes.size() >= disk_nodes.size() &&
           equal(nodes.first(disk_nodes.size()), disk_nodes);
}

std::optional<Guid> partition_on(Bytes disk_nodes, Bytes nodes) {
    if (!is_on(disk_nodes, nodes)) return std::nullopt;
    const Bytes node = nodes.subspan(disk_nodes.size());
    if (node.size() != kHardDriveBytes || node[0] != kMedia || node[1] != kHardDrive ||
        node_bytes(node) != kHardDriveBytes || node[kSignatureTypeAt] != kGuidSignature)
        return std::nullopt;
    Guid guid;
    for (std::size_t i = 0; i < guid.bytes.size(); ++i)
        guid.bytes[i] = std::to_integer<std::uint8_t>(node[kSignatureAt + i]);
    return guid;
}

Bytes file_path(Bytes partition_nodes, TextView path, Buffer into) {
    const std::size_t node = kNodeHeader + 2 * (path.size() + 1);
    const std::size_t all = partition_nodes.size() + node + kNodeHeader;
    if (node > 0xffff || all > into.size()) return {};
    std::size_t at = 0;
    const auto put = [&](std::byte value) { into[at++] = value; };
    for (std::byte b : partition_nodes)
        put(b);
    put(kMedia), put(kFile);
    put(static_cast<std::byte>(node & 0xff)), put(static_cast<std::byte>(node >> 8));
    for (char c : path)
        put(static_cast<std::byte>(c == '/' ? '\\' : c)), put(std::byte{0});
    put(std::byte{0}), put(std::byte{0});
    put(kEnd), put(kEndOfAll), put(std::byte{kNodeHeader}), put(std::byte{0});
    return into.first(at);
}

std::size_t to_utf16(TextView text, bool is_path, std::span<char16_t> into) {
    if (text.size() >= into.size()) return 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        into[i] = is_path && c == '/' ? u'\\' : static_cast<char16_t>(c);
    }
    into[text.size()] = 0;
    return text.size() + 1;
}

}  // namespace dupengine::efi

#include "layout/btrfs_refs.h"

#include <optional>

namespace dupengine::layout {
namespace {

using Kind = BtrfsReference::Kind;

constexpr std::uint8_t kExtentItem = 168, kMetadataItem = 169, kOwnerRef = 172, kTreeBlockRef = 176,
                       kExtentDataRef = 178, kSharedBlockRef = 182, kSharedDataRef = 184;

// What stands behind the type of one inside the item of the extent. Its first number stands in the key of one
// that has an item of its own.
std::size_t inline_bytes(std::uint8_t type) {
    switch (type) {
        case kOwnerRef:
        case kTreeBlockRef:
        case kSharedBlockRef:
            return 8;
        case kSharedDataRef:
            return 12;
        case kExtentDataRef:
            return 28;
        default:
            throw_error(Code::kIntegrity, "a reference of type {}", type);
    }
}

std::optional<BtrfsReference> reference_of(std::uint8_t type, std::uint64_t number,
                                           std::span<const std::byte> data_ref) {
    BtrfsReference reference;
    switch (type) {
        case kTreeBlockRef:
            reference.kind = Kind::kTree;
            reference.tree = number;
            return reference;
        case kSharedBlockRef:
        case kSharedDataRef:
            reference.kind = type == kSharedBlockRef ? Kind::kTreeBlock : Kind::kFileInLeaf;
            reference.block = number;
            return reference;
        case kExtentDataRef:
            reference.tree = load_le<std::uint64_t>(data_ref, 0);
            reference.inode = load_le<std::uint64_t>(data_ref, 8);
            reference.file_offset = load_le<std::uint64_t>(data_ref, 16);
            return reference;
        default:
            return {};  // who wrote it first, for quotas
    }
}

}  // namespace

void BtrfsExtentItems::take(const BtrfsKey& key, std::span<const std::byte> item, const OnExtent& on_extent,
                            const OnReference& on_reference) {
    constexpr std::size_t kItemBytes = 24, kTreeBlockInfoBytes = 18, kLevelAt = kItemBytes + 17;
    constexpr std::uint64_t kTreeBlockFlag = 2;
    const auto give = [&](std::uint8_t type, std::uint64_t number, std::span<const std::byte> data_ref) {
        if (const auto reference = reference_of(type, number, data_ref)) on_reference(extent_, *reference);
    };
    if (key.type != kExtentItem && key.type != kMetadataItem) {
        const bool is_reference = key.type == kTreeBlockRef || key.type == kExtentDataRef ||
                                  key.type == kSharedBlockRef || key.type == kSharedDataRef;
        if (is_reference && !extent_.logical.empty() && key.object == extent_.logical.begin)
            give(key.type, key.offset, item);
        return;
    }
    extent_ = {};
    const std::uint64_t size = key.type == kMetadataItem ? super_.node_bytes : key.offset;
    BtrfsExtent extent;
    extent.logical = {key.object, checked_add(key.object, size, "an extent")};
    extent.is_tree_block = (load_le<std::uint64_t>(item, 16) & kTreeBlockFlag) != 0;
    std::size_t at = kItemBytes;
    if (key.type == kMetadataItem) {
        extent.level = static_cast<unsigned>(key.offset & 0xFF);
    } else if (extent.is_tree_block) {
        extent.level = load_le<std::uint8_t>(item, kLevelAt);
        at += kTreeBlockInfoBytes;
    }
    extent_ = extent;
    on_extent(extent_);
    while (at < item.size()) {
        const auto type = load_le<std::uint8_t>(item, at);
        const auto number = load_le<std::uint64_t>(item, at + 1);
        const std::size_t bytes = inline_bytes(type);
        if (bytes > item.size() - at - 1) throw_error(Code::kIntegrity, "a reference passes its end");
        give(type, number, item.subspan(at + 1, bytes));
        at += 1 + bytes;
    }
}

}  // namespace dupengine::layout

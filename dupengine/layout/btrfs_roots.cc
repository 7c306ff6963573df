#include "layout/btrfs_roots.h"

namespace dupengine::layout {
namespace {

constexpr std::uint8_t kRootItem = 132, kChunkItem = 228;
constexpr std::uint64_t kChunkObject = 256;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

}  // namespace

void read_btrfs_chunk_tree(BtrfsTrees& trees, const BtrfsSuper& super, BtrfsChunks& chunks) {
    trees.walk(super.chunk_tree, {kChunkObject, kChunkItem, 0}, {kChunkObject, kChunkItem, kMost},
               [&](const BtrfsKey& key, std::span<const std::byte> item) { chunks.add(key, item); });
}

std::optional<BtrfsRoot> find_btrfs_root(BtrfsTrees& trees, const BtrfsSuper& super, std::uint64_t tree) {
    std::optional<BtrfsRoot> root;
    trees.walk(super.root_tree, {tree, kRootItem, 0}, {tree, kRootItem, kMost},
               [&](const BtrfsKey&, std::span<const std::byte> item) {
                   if (root) throw_error(Code::kIntegrity, "two trees of number {}", tree);
                   root = {load_le<std::uint64_t>(item, 176), load_le<std::uint64_t>(item, 160), tree,
                           load_le<std::uint8_t>(item, 238)};
               });
    return root;
}

}  // namespace dupengine::layout

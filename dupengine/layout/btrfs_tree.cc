#include "layout/btrfs_tree.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

// Offsets in struct btrfs_header.
constexpr std::size_t kFsid = 32, kLogical = 48, kGeneration = 80, kOwner = 88, kItems = 96, kLevel = 100,
                      kHeaderBytes = 101;
constexpr std::size_t kLeafItemBytes = BtrfsKey::kBytes + 8, kNodeItemBytes = BtrfsKey::kBytes + 16;

std::size_t item_at(unsigned level, std::size_t index) {
    return kHeaderBytes + index * (level == 0 ? kLeafItemBytes : kNodeItemBytes);
}

}  // namespace

void BtrfsTrees::check_block(const Bytes& block, const Expected& expected) const {
    const auto wrong = [&](const char* what) {
        throw_error(Code::kIntegrity, "tree {}, block at {}: {}", expected.owner, expected.logical, what);
    };
    if (!btrfs_checksum_matches(super_.checksum, block)) wrong("does not match its checksum");
    if (!std::equal(super_.tree_fsid.begin(), super_.tree_fsid.end(), block.begin() + kFsid))
        wrong("is of another filesystem");
    if (load_le<std::uint64_t>(block, kLogical) != expected.logical) wrong("belongs elsewhere");
    if (load_le<std::uint64_t>(block, kGeneration) != expected.generation ||
        expected.generation > super_.generation)
        wrong("is of another generation");
    if (load_le<std::uint64_t>(block, kOwner) != expected.owner) wrong("is of another tree");
    if (load_le<std::uint8_t>(block, kLevel) != expected.level) wrong("is of another level");
    const std::size_t items = load_le<std::uint32_t>(block, kItems);
    if (items > (block.size() - kHeaderBytes) / (item_at(expected.level, 1) - kHeaderBytes))
        wrong("has too many items");
    if (items == 0 && !(expected.is_root && expected.level == 0)) wrong("is empty");
    // Ascending keys between those of the parent: so no block can be reached twice.
    for (std::size_t i = 0; i < items; ++i) {
        const BtrfsKey key = BtrfsKey::load(block, item_at(expected.level, i));
        const bool first_fits = i != 0 || expected.is_root || key == expected.first_key;
        const bool ascends = i == 0 || BtrfsKey::load(block, item_at(expected.level, i - 1)) < key;
        const bool ends = key < expected.limit || (key == kBtrfsLastKey && expected.limit == key);
        if (!first_fits || !ascends || !ends) wrong("has keys out of order");
    }
}

Bytes BtrfsTrees::read_block(const Expected& expected) {
    const auto places =
        chunks_.places_of({expected.logical, checked_add(expected.logical, super_.node_bytes, "a block")});
    for (std::size_t i = 0;; ++i) {
        Bytes block = block::read_extent(part_, places[i]);
        try {
            check_block(block, expected);
            blocks_read_.push_back(expected.logical);
            return block;
        } catch (const Error& e) {
            if (e.code() != Code::kIntegrity || i + 1 == places.size()) throw;
        }
    }
}

void BtrfsTrees::walk(const BtrfsRoot& root, const BtrfsKey& first, const BtrfsKey& last, const Take& take) {
    if (root.level >= BtrfsSuper::kLevels)
        throw_error(Code::kIntegrity, "tree {} of {} levels", root.owner, root.level);
    visit({.logical = root.logical,
           .generation = root.generation,
           .owner = root.owner,
           .level = root.level,
           .is_root = true,
           .first_key = {},
           .limit = kBtrfsLastKey},
          first, last, take);
}

// Recurses once a level, of which there are eight at most.
void BtrfsTrees::visit(const Expected& expected, const BtrfsKey& first, const BtrfsKey& last,
                       const Take& take) {
    const Bytes block = read_block(expected);
    const std::size_t items = load_le<std::uint32_t>(block, kItems);
    for (std::size_t i = 0; i < items; ++i) {
        const std::size_t at = item_at(expected.level, i);
        const BtrfsKey key = BtrfsKey::load(block, at);
        if (key > last) break;
        if (expected.level == 0) {
            if (key < first) continue;
            const std::size_t offset = load_le<std::uint32_t>(block, at + BtrfsKey::kBytes),
                              size = load_le<std::uint32_t>(block, at + BtrfsKey::kBytes + 4);
            const std::size_t room = block.size() - kHeaderBytes;
            if (offset > room || size > room - offset || kHeaderBytes + offset < item_at(0, items))
                throw_error(Code::kIntegrity, "tree {}, block at {}: an item passes its end", expected.owner,
                            expected.logical);
            take(key, std::span(block).subspan(kHeaderBytes + offset, size));
            continue;
        }
        const BtrfsKey limit =
            i + 1 < items ? BtrfsKey::load(block, item_at(expected.level, i + 1)) : expected.limit;
        if (limit <= first && limit != kBtrfsLastKey) continue;
        visit({.logical = load_le<std::uint64_t>(block, at + BtrfsKey::kBytes),
               .generation = load_le<std::uint64_t>(block, at + BtrfsKey::kBytes + 8),
               .owner = expected.owner,
               .level = expected.level - 1,
               .is_root = false,
               .first_key = key,
               .limit = limit},
              first, last, take);
    }
}

}  // namespace dupengine::layout

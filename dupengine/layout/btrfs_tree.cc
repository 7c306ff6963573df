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

// Counted from the beginning of the block; it may pass its end.
block::Extent content_of_item(std::span<const std::byte> leaf, std::size_t item) {
    const std::uint64_t begin =
        kHeaderBytes + std::uint64_t{load_le<std::uint32_t>(leaf, item + BtrfsKey::kBytes)};
    return {begin, begin + load_le<std::uint32_t>(leaf, item + BtrfsKey::kBytes + 4)};
}

}  // namespace

bool is_btrfs_file_tree(std::uint64_t tree) {
    constexpr std::uint64_t kTopLevel = 5, kFirst = 256, kEnd = ~std::uint64_t{0} - 255;
    return tree == kTopLevel || (tree >= kFirst && tree < kEnd);
}

BtrfsTrees::BtrfsTrees(const block::Reader& part, const BtrfsSuper& super, const BtrfsChunks& chunks,
                       BtrfsDamage damage)
    : part_(part), super_(super), chunks_(chunks), damage_(damage) {
    // Far more than a sound filesystem of this size needs, whose every extent is asked for.
    constexpr std::uint64_t kMost = std::uint64_t{1} << 23;
    visits_left_ = std::min(kMost, 4096 + 64 * (super.device_bytes / super.node_bytes));
}

// What a block says of itself.
void BtrfsTrees::check_block(const Bytes& block, ByteOffset logical) const {
    const auto owner = load_le<std::uint64_t>(block, kOwner);
    const auto wrong = [&](const char* what) {
        throw_error(Code::kIntegrity, "tree {}, block at {}: {}", owner, logical, what);
    };
    if (!btrfs_checksum_matches(super_.checksum, block)) wrong("does not match its checksum");
    if (!std::equal(super_.tree_fsid.begin(), super_.tree_fsid.end(), block.begin() + kFsid))
        wrong("is of another filesystem");
    if (load_le<std::uint64_t>(block, kLogical) != logical) wrong("belongs elsewhere");
    if (load_le<std::uint64_t>(block, kGeneration) > super_.generation) wrong("is of another generation");
    const unsigned level = load_le<std::uint8_t>(block, kLevel);
    const std::size_t items = load_le<std::uint32_t>(block, kItems);
    if (items > (block.size() - kHeaderBytes) / (item_at(level, 1) - kHeaderBytes))
        wrong("has too many items");
    for (std::size_t i = 0; i < items; ++i) {
        const std::size_t at = item_at(level, i);
        if (i != 0 && BtrfsKey::load(block, item_at(level, i - 1)) >= BtrfsKey::load(block, at))
            wrong("has keys out of order");
        if (level != 0) continue;
        const block::Extent content = content_of_item(block, at);
        if (content.begin < item_at(0, items) || content.end > block.size()) wrong("an item passes its end");
    }
}

// What its parent says of it. Its keys lie between those of the parent: so no block can be reached twice.
void BtrfsTrees::check_position(const Bytes& block, const Expected& expected) const {
    const auto wrong = [&](const char* what) {
        throw_error(Code::kIntegrity, "tree {}, block at {}: {}", expected.owner, expected.logical, what);
    };
    if (load_le<std::uint64_t>(block, kGeneration) != expected.generation) wrong("is of another generation");
    const auto owner = load_le<std::uint64_t>(block, kOwner);
    // Snapshots share blocks, which carry the number of the subvolume that wrote them.
    if (owner != expected.owner && !(is_btrfs_file_tree(owner) && is_btrfs_file_tree(expected.owner)))
        wrong("is of another tree");
    if (load_le<std::uint8_t>(block, kLevel) != expected.level) wrong("is of another level");
    const std::size_t items = load_le<std::uint32_t>(block, kItems);
    if (items == 0) {
        if (!expected.is_root || expected.level != 0) wrong("is empty");
        return;
    }
    const BtrfsKey first = BtrfsKey::load(block, item_at(expected.level, 0)),
                   last = BtrfsKey::load(block, item_at(expected.level, items - 1));
    const bool ends = last < expected.limit || (last == kBtrfsLastKey && expected.limit == last);
    if ((!expected.is_root && first != expected.first_key) || !ends) wrong("has keys out of order");
}

BtrfsTrees::Block BtrfsTrees::read_copies(ByteOffset logical, const Expected* expected) {
    const auto places = chunks_.places_of({logical, checked_add(logical, super_.node_bytes, "a block")});
    for (std::size_t i = 0;; ++i) {
        try {
            Bytes block = block::read_extent(part_, places[i]);
            check_block(block, logical);
            if (expected != nullptr) check_position(block, *expected);
            return std::make_shared<const Bytes>(std::move(block));
        } catch (const Error& e) {
            const bool is_damage = e.code() == Code::kIntegrity ||
                                   (e.code() == Code::kSourceIo && damage_ == BtrfsDamage::kIsLeftOut);
            if (!is_damage || i + 1 == places.size()) throw;
        }
    }
}

BtrfsTrees::Block BtrfsTrees::read_block(ByteOffset logical, const Expected* expected) {
    if (damage_ == BtrfsDamage::kIsAnError) {
        Block block = read_copies(logical, expected);
        blocks_read_.push_back(logical);
        return block;
    }
    constexpr std::uint64_t kRoomForBlocks = 32 * kMiB;
    constexpr std::size_t kMostLost = std::size_t{1} << 16;
    try {
        if (visits_left_ == 0 || lost_.contains(logical))
            throw_error(Code::kIntegrity, "the block at {} is left out", logical);
        --visits_left_;
        const auto found = kept_.find(logical);
        if (found != kept_.end()) {
            if (expected != nullptr) check_position(*found->second, *expected);
            return found->second;
        }
        if (kept_.size() >= kRoomForBlocks / super_.node_bytes) kept_.clear();
        return kept_.emplace(logical, read_copies(logical, expected)).first->second;
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
        if (lost_.size() < kMostLost) lost_.insert(logical);
        complete_ = false;
        return {};
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
    const Block kept = read_block(expected.logical, &expected);
    if (!kept) return;
    const Bytes& block = *kept;
    const std::size_t items = load_le<std::uint32_t>(block, kItems);
    for (std::size_t i = 0; i < items; ++i) {
        const std::size_t at = item_at(expected.level, i);
        const BtrfsKey key = BtrfsKey::load(block, at);
        if (key > last) break;
        if (expected.level == 0) {
            if (key < first) continue;
            const block::Extent content = content_of_item(block, at);
            take(key, std::span(block).subspan(content.begin, content.size()));
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

bool BtrfsTrees::read_leaf(ByteOffset logical, const TakeInLeaf& take) {
    const Block block = read_block(logical, nullptr);
    if (!block || load_le<std::uint8_t>(*block, kLevel) != 0) return false;
    const std::size_t items = load_le<std::uint32_t>(*block, kItems);
    for (std::size_t i = 0; i < items; ++i) {
        const block::Extent content = content_of_item(*block, item_at(0, i));
        take(BtrfsKey::load(*block, item_at(0, i)), content.begin,
             std::span(*block).subspan(content.begin, content.size()));
    }
    return true;
}

}  // namespace dupengine::layout

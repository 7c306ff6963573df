// From bytes to files of btrfs. The chunks tell which logical addresses the places are, on all copies; the
// extent tree, which extents are there and who refers to them; the trees of the subvolumes, which part of an
// extent a file has, and the file's name. Only the extents on the places are looked at: a filesystem of many
// snapshots has many times more files than extents.
//
// A file that snapshots share is named where its extent is referred to, once at least; that a snapshot has it
// too as long as it shares the blocks of the tree above is not said. What lies in the leaves of the trees
// (inodes, entries of folders, the content of small files) belongs to the file that each item is of.

#include <algorithm>
#include <map>
#include <set>

#include "layout/btrfs_refs.h"
#include "layout/btrfs_roots.h"
#include "layout/owner_tally.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using Kind = BtrfsReference::Kind;

constexpr std::uint8_t kInodeRef = 12, kInodeLongRef = 13, kFileExtent = 108, kRootBackReference = 144,
                       kFirstExtentType = 168, kLastExtentType = 184;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kTopLevel = BtrfsTreeNumber::kFiles;
constexpr std::uint64_t kTopFolder = 256;  // the inode of a subvolume's own folder, and the first there is
constexpr std::size_t kNumberLimit = 4 * OwnerTally::kFileLimit;
constexpr std::size_t kKept = std::size_t{1} << 16;  // trees and blocks whose tree is known

struct File {
    std::uint64_t tree = 0, inode = 0;
    auto operator<=>(const File&) const = default;
};

const char* structure_name(std::uint64_t tree) {
    using Tree = BtrfsTreeNumber;
    switch (tree) {
        case Tree::kRoot:
            return "(tree of roots)";
        case Tree::kExtent:
            return "(extent tree)";
        case Tree::kChunk:
            return "(chunk tree)";
        case Tree::kDevice:
            return "(device tree)";
        case Tree::kChecksum:
            return "(checksum tree)";
        case Tree::kQuota:
            return "(quota tree)";
        case Tree::kUuid:
            return "(UUID tree)";
        case Tree::kFreeSpace:
            return "(free space tree)";
        case Tree::kBlockGroup:
            return "(block group tree)";
        case Tree::kRelocation:
            return "(relocation tree)";
        default:
            return is_btrfs_file_tree(tree) ? "(file trees)" : "(other trees)";
    }
}

// Which part of the extent an item of a file refers to (struct btrfs_file_extent_item). Of a compressed one
// all of it is needed for any byte.
std::optional<Extent> part_of(std::span<const std::byte> item, Extent extent) {
    constexpr std::uint8_t kInline = 0;
    if (load_le<std::uint8_t>(item, 20) == kInline || load_le<std::uint64_t>(item, 21) != extent.begin ||
        load_le<std::uint64_t>(item, 29) != extent.size())
        return {};
    const bool is_plain = load_le<std::uint8_t>(item, 16) == 0 && load_le<std::uint8_t>(item, 17) == 0;
    if (!is_plain) return extent;
    const auto offset = load_le<std::uint64_t>(item, 37), size = load_le<std::uint64_t>(item, 45);
    if (offset > extent.size() || size > extent.size() - offset)
        throw_error(Code::kIntegrity, "a file refers to what lies behind an extent");
    return Extent{extent.begin + offset, extent.begin + offset + size};
}

class Search {
  public:
    Search(const block::Reader& part, const block::ExtentSet& places)
        : super_(read_btrfs_super(part)),
          chunks_(super_),
          trees_(part, super_, chunks_, BtrfsDamage::kIsLeftOut),
          places_(places),
          tally_(places) {
        number_of({kTopLevel, kTopFolder});  // gets kRoot
    }

    FileOwners run() {
        for (const ByteOffset place : BtrfsSuper::kPlaces)
            if (place + BtrfsSuper::kBytes <= super_.device_bytes)
                tally_.add_structure("(superblocks)", {place, place + BtrfsSuper::kBytes});
        read_btrfs_chunk_tree(trees_, super_, chunks_);
        const auto extent_tree = find_btrfs_root(trees_, super_, BtrfsTreeNumber::kExtent);
        if (!extent_tree) throw_error(Code::kIntegrity, "its extent tree cannot be found");
        extent_tree_ = *extent_tree;
        for (const Extent range : chunks_.ranges_up_to(places_))
            look_at(range);
        FileOwners owners = tally_.name(
            kRoot, [this](std::uint64_t number) { return text_without_name(number); },
            [this](std::uint64_t number) { return name_of(number); });
        if (!complete_ || !trees_.complete())
            owners.reason = kNamesMayBeMissing;
        else if (super_.log_root != 0)
            owners.reason = "its log is not replayed; names of what was written last may be missing";
        return owners;
    }

  private:
    static constexpr std::uint64_t kRoot = 0;
    static constexpr std::uint64_t kFurther = kMost;  // stands for files that got no number

    template <typename Work>
    void tolerating(Work&& work) {
        try {
            work();
        } catch (const Error& e) {
            if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
            complete_ = false;
        }
    }

    bool touches(Extent logical) const {
        const auto copies = chunks_.places_of(logical);
        return std::any_of(copies.begin(), copies.end(), [&](Extent e) { return tally_.touches(e); });
    }

    // The extents of one chunk that begin within `range`.
    void look_at(Extent range) {
        BtrfsExtentItems items(super_);
        bool wanted = false, named = false;
        trees_.walk(extent_tree_, {range.begin, kFirstExtentType, 0}, {range.end - 1, kLastExtentType, kMost},
                    [&](const BtrfsKey& key, std::span<const std::byte> item) {
                        tolerating([&] {
                            items.take(
                                key, item,
                                [&](const BtrfsExtent& extent) {
                                    settle();
                                    named = false;
                                    wanted = false;
                                    wanted = touches(extent.logical);
                                },
                                [&](const BtrfsExtent& extent, const BtrfsReference& reference) {
                                    if (!wanted || (extent.is_tree_block && named)) return;
                                    named = take(extent, reference);
                                });
                        });
                    });
        settle();
    }

    // Returns whether the extent has an owner now.
    bool take(const BtrfsExtent& extent, const BtrfsReference& reference) {
        switch (reference.kind) {
            case Kind::kFile:
                return take_file(extent.logical, reference);
            case Kind::kFileInLeaf:
                return take_file_in_leaf(extent.logical, reference.block);
            case Kind::kTree:
                return take_tree_block(extent, reference.tree);
            case Kind::kTreeBlock:
                return take_tree_block(extent, tree_of(extent.logical.begin));
        }
        return false;
    }

    bool take_file(Extent extent, const BtrfsReference& reference) {
        if (!is_btrfs_file_tree(reference.tree)) {
            // Before there was a tree for it, free space was kept in files of the tree of roots.
            add_structure(reference.tree == BtrfsTreeNumber::kRoot ? "(free space)" : "(other trees)",
                          extent);
            return true;
        }
        const File file{reference.tree, reference.inode};
        if (is_full() && !numbers_.contains(file)) {
            add(kFurther, extent);
            return true;
        }
        const auto tree = root_of(reference.tree);
        if (!tree) return complete_ = false;
        // It may refer to any part of the extent; what is compressed is up to 128 KiB long. Where a file has
        // no beginning of it, the offset is negative.
        constexpr std::uint64_t kCompressedBytes = 128 * kKiB, kNegative = std::uint64_t{1} << 63;
        const std::uint64_t first = reference.file_offset >= kNegative ? 0 : reference.file_offset,
                            last = reference.file_offset + std::max(extent.size(), kCompressedBytes);
        trees_.walk(*tree, {file.inode, kFileExtent, first}, {file.inode, kFileExtent, last},
                    [&](const BtrfsKey&, std::span<const std::byte> item) { take_part(file, extent, item); });
        return true;
    }

    bool take_file_in_leaf(Extent extent, ByteOffset leaf) {
        const std::uint64_t tree = tree_of(leaf);
        return trees_.read_leaf(leaf, [&](const BtrfsKey& key, std::size_t, std::span<const std::byte> item) {
            if (key.type == kFileExtent) take_part({tree, key.object}, extent, item);
        });
    }

    void take_part(const File& file, Extent extent, std::span<const std::byte> item) {
        constexpr std::size_t kItemBytes = 53, kPartLimit = 4096;
        if (load_le<std::uint8_t>(item, 20) != 0 && item.size() < kItemBytes)
            throw_error(Code::kIntegrity, "a file's extent of {} bytes", item.size());
        const std::optional<Extent> part = part_of(item, extent);
        if (!part) return;
        if (parts_.size() >= kPartLimit) settle();
        parts_[file].insert(*part);
    }

    // Two references of one file to the same bytes are no more bytes.
    void settle() {
        for (const auto& [file, parts] : std::exchange(parts_, {}))
            for (const Extent part : parts)
                if (touches(part)) add(number_of(file), part);
    }

    void add(std::uint64_t number, Extent logical) {
        for (const Extent copy : chunks_.places_of(logical))
            tally_.add(number, copy);
    }
    void add_structure(const char* name, Extent logical) {
        for (const Extent copy : chunks_.places_of(logical))
            tally_.add_structure(name, copy);
    }

    bool take_tree_block(const BtrfsExtent& extent, std::uint64_t tree) {
        if (!is_btrfs_file_tree(tree) || extent.level != 0 || !take_leaf(extent.logical, tree))
            add_structure(structure_name(tree), extent.logical);
        return true;
    }

    bool take_leaf(Extent leaf, std::uint64_t tree) {
        ByteOffset contents = leaf.end;
        const bool is_leaf = trees_.read_leaf(
            leaf.begin, [&](const BtrfsKey& key, std::size_t at, std::span<const std::byte> item) {
                const Extent place{leaf.begin + at, leaf.begin + at + item.size()};
                contents = std::min(contents, place.begin);
                const bool is_file = key.object >= kTopFolder && key.object <= kMost - kTopFolder;
                if (place.empty() || !touches(place)) return;
                if (is_file)
                    add(number_of({tree, key.object}), place);
                else
                    add_structure("(file trees)", place);
            });
        if (is_leaf) add_structure("(file trees)", {leaf.begin, contents});  // its header and keys
        return is_leaf;
    }

    // The subvolume in which a block is: it says so, or one of the blocks above it does. 0 if none is found.
    std::uint64_t tree_of(ByteOffset block) {
        const auto known = tree_of_block_.find(block);
        if (known != tree_of_block_.end()) return known->second;
        if (tree_of_block_.size() >= kKept) tree_of_block_.clear();
        return tree_of_block_[block] = search_upwards(block);
    }

    std::uint64_t search_upwards(ByteOffset block) {
        constexpr std::size_t kWidest = 64;
        std::set<ByteOffset> blocks{block};
        std::uint64_t any = 0;
        for (unsigned level = 0; level < BtrfsSuper::kLevels && !blocks.empty(); ++level) {
            std::set<ByteOffset> above;
            for (const ByteOffset one : blocks) {
                BtrfsExtentItems items(super_);
                std::uint64_t found = 0;
                trees_.walk(extent_tree_, {one, kFirstExtentType, 0}, {one, kLastExtentType, kMost},
                            [&](const BtrfsKey& key, std::span<const std::byte> item) {
                                items.take(
                                    key, item, [](const BtrfsExtent&) {},
                                    [&](const BtrfsExtent&, const BtrfsReference& reference) {
                                        if (reference.kind == Kind::kTree)
                                            any = found = found != 0 ? found : reference.tree;
                                        if (reference.kind == Kind::kTreeBlock && above.size() < kWidest)
                                            above.insert(reference.block);
                                    });
                            });
                // One that is being deleted has no names any more.
                if (found != 0 && (!is_btrfs_file_tree(found) || root_of(found))) return found;
            }
            blocks = std::move(above);
        }
        if (any == 0) complete_ = false;
        return any;
    }

    const std::optional<BtrfsRoot>& root_of(std::uint64_t tree) {
        const auto known = roots_.find(tree);
        if (known != roots_.end()) return known->second;
        if (roots_.size() >= kKept) roots_.clear();
        std::optional<BtrfsRoot> root;
        tolerating([&] { root = find_btrfs_root(trees_, super_, tree); });
        return roots_.emplace(tree, root).first->second;
    }

    bool is_full() const { return tally_.bytes_of_files().size() >= OwnerTally::kFileLimit; }

    std::uint64_t number_of(const File& file) {
        const auto known = numbers_.find(file);
        if (known != numbers_.end()) return known->second;
        if (files_.size() >= kNumberLimit) return kFurther;
        files_.push_back(file);
        return numbers_[file] = files_.size() - 1;
    }

    std::optional<NameInFolder> name_of(std::uint64_t number) {
        if (number == kFurther) return {};
        const auto known = names_.find(number);
        if (known != names_.end()) return known->second;
        std::optional<NameInFolder> name;
        tolerating([&] { name = look_up(files_.at(number)); });
        return names_[number] = name;
    }

    // The first of its names that is found.
    std::optional<NameInFolder> look_up(const File file) {
        std::optional<NameInFolder> name;
        const auto take_name = [&](const File& folder, std::span<const std::byte> item, std::size_t at) {
            const std::size_t size = load_le<std::uint16_t>(item, at);
            if (name || size == 0 || size > item.size() - at - 2) return;
            name = NameInFolder{number_of(folder), std::string(as_text(item.subspan(at + 2, size)))};
        };
        if (file.inode == kTopFolder) {
            trees_.walk(super_.root_tree, {file.tree, kRootBackReference, 0},
                        {file.tree, kRootBackReference, kMost},
                        [&](const BtrfsKey& key, std::span<const std::byte> item) {
                            take_name({key.offset, load_le<std::uint64_t>(item, 0)}, item, 16);
                        });
            return name;
        }
        const auto tree = root_of(file.tree);
        if (!tree) return {};
        trees_.walk(*tree, {file.inode, kInodeRef, 0}, {file.inode, kInodeLongRef, kMost},
                    [&](const BtrfsKey& key, std::span<const std::byte> item) {
                        if (key.type == kInodeRef)
                            take_name({file.tree, key.offset}, item, 8);
                        else
                            take_name({file.tree, load_le<std::uint64_t>(item, 0)}, item, 16);
                    });
        return name;
    }

    std::string text_without_name(std::uint64_t number) const {
        if (number == kFurther) return "(further files)";
        const File& file = files_.at(number);
        if (file.inode == kTopFolder) return fmt::format("(subvolume {})", file.tree);
        return fmt::format("(inode {} of subvolume {})", file.inode, file.tree);
    }

    const BtrfsSuper super_;
    BtrfsChunks chunks_;
    BtrfsTrees trees_;
    const block::ExtentSet& places_;
    OwnerTally tally_;
    BtrfsRoot extent_tree_;
    std::map<File, block::ExtentSet> parts_;  // of the extent that is looked at
    std::map<File, std::uint64_t> numbers_;
    std::vector<File> files_;  // by number
    std::unordered_map<std::uint64_t, std::optional<NameInFolder>> names_;
    std::unordered_map<std::uint64_t, std::optional<BtrfsRoot>> roots_;
    std::unordered_map<ByteOffset, std::uint64_t> tree_of_block_;
    bool complete_ = true;
};

}  // namespace

FileOwners btrfs_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    return Search(part, places).run();
}

}  // namespace dupengine::layout

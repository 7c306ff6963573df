// What is in the folders of an XFS: in the inode itself, or in blocks ("Short Form Directories", "Block
// Directories", "Leaf Directories", "Node Directories"). The last two differ in their indexes only, which lie
// behind all entries and are not needed to read them.

#include <algorithm>

#include "layout/xfs_inodes.h"

namespace dupengine::layout {
namespace {

using OnEntry = std::function<bool(std::uint64_t, std::string_view)>;

constexpr std::uint64_t kIndexesAt = std::uint64_t{32} * kGiB;  // in the file: here the entries end
constexpr std::uint32_t kBlockMagic = 0x58443242, kSealedBlockMagic = 0x58444233,  // "XD2B", "XDB3": the only
    kDataMagic = 0x58443244, kSealedDataMagic = 0x58444433;                        // "XD2D", "XDD3": of many
constexpr std::uint64_t kInodeMask = (std::uint64_t{1} << 56) - 1;

std::uint64_t load_inode(std::span<const std::byte> bytes, std::size_t at, bool is_long) {
    return is_long ? load_be<std::uint64_t>(bytes, at) & kInodeMask : load_be<std::uint32_t>(bytes, at);
}

std::span<const std::byte> checked_part(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
    if (at > bytes.size() || size > bytes.size() - at)
        throw_error(Code::kIntegrity, "an entry of a folder passes its end");
    return bytes.subspan(at, size);
}

void read_short(const XfsSearch& search, std::span<const std::byte> fork, const OnEntry& on_entry) {
    const unsigned count = load_le<std::uint8_t>(fork, 0);
    const bool is_long = load_le<std::uint8_t>(fork, 1) != 0;
    const std::size_t inode_bytes = is_long ? 8 : 4;
    if (!on_entry(load_inode(fork, 2, is_long), "..")) return;
    std::size_t at = 2 + inode_bytes;
    for (unsigned i = 0; i < count; ++i) {
        const std::size_t length = load_le<std::uint8_t>(fork, at);
        const auto name = checked_part(fork, at + 3, length);
        at += 3 + length + (search.file_types ? 1 : 0);
        if (!on_entry(load_inode(fork, at, is_long), as_text(name))) return;
        at += inode_bytes;
    }
}

// Puts a folder's blocks together, as they come: one of them may lie in several pieces.
class FolderBlocks {
  public:
    FolderBlocks(XfsSearch& search, std::uint64_t folder, const OnEntry& on_entry)
        : search_(search), folder_(folder), on_entry_(on_entry) {}

    void take(const XfsRun& run) {
        const std::uint64_t step = search_.super.block_bytes, pieces = search_.folder_block_bytes / step;
        std::uint64_t number = run.file_block;
        for (ByteOffset at = run.place.begin; at < run.place.end && goes_on_; at += step, ++number) {
            if (number >= kIndexesAt / step) return;
            if (number % pieces == 0) {
                block_.clear();
                place_ = at;
                next_ = number;
            }
            if (number != next_) continue;
            bool is_folder = true;
            search_.tolerating([&] {
                const Bytes piece = search_.read_structure({at, at + step});
                block_.insert(block_.end(), piece.begin(), piece.end());
                ++next_;
                if (block_.size() == search_.folder_block_bytes) is_folder = read_block();
            });
            // What else this run has is no folder either: so many blocks of anything are not read.
            if (!is_folder) return;
        }
    }

  private:
    /// Returns whether it is a block of a folder at all.
    bool read_block() {
        const auto magic = load_be<std::uint32_t>(block_, 0);
        const bool sealed = search_.super.checksums,
                   is_only = magic == (sealed ? kSealedBlockMagic : kBlockMagic);
        if (!is_only && magic != (sealed ? kSealedDataMagic : kDataMagic)) {
            search_.complete = false;
            return false;
        }
        if (sealed) {
            check_xfs_checksum(block_, 4, "a folder's block");
            if (load_be<std::uint64_t>(block_, 8) != place_ / 512 ||
                load_be<std::uint64_t>(block_, 40) != folder_ ||
                !std::equal(search_.super.uuid.begin(), search_.super.uuid.end(), block_.begin() + 24))
                throw_error(Code::kIntegrity, "a folder's block belongs somewhere else");
        }
        std::size_t end = block_.size();
        if (is_only) {  // its index stands at its end
            const std::uint64_t index = 8 + 8 * std::uint64_t{load_be<std::uint32_t>(block_, end - 8)};
            if (index > end)
                throw_error(Code::kIntegrity, "a folder's block with an index of {} bytes", index);
            end -= index;
        }
        read_entries(std::span(block_).first(end), sealed ? 64 : 16);
        return true;
    }

    void read_entries(std::span<const std::byte> block, std::size_t at) {
        while (at < block.size()) {
            const bool is_unused = load_be<std::uint16_t>(block, at) == 0xFFFF;
            const std::size_t length = is_unused ? 0 : load_le<std::uint8_t>(block, at + 8);
            // Number, length, name, type of the file, where the entry begins; rounded up to 8 bytes.
            const std::size_t size = is_unused ? load_be<std::uint16_t>(block, at + 2)
                                               : align_up(9 + length + (search_.file_types ? 1u : 0u) + 2, 8);
            if (size == 0 || size % 8 != 0) throw_error(Code::kIntegrity, "an entry of {} bytes", size);
            checked_part(block, at, size);
            const std::string_view name = is_unused ? "." : as_text(block.subspan(at + 9, length));
            if (name != ".") goes_on_ = on_entry_(load_inode(block, at, true), name);
            if (!goes_on_) return;
            at += size;
        }
    }

    XfsSearch& search_;
    std::uint64_t folder_;
    const OnEntry& on_entry_;
    Bytes block_;
    ByteOffset place_ = 0;    // of its first piece
    std::uint64_t next_ = 0;  // the piece that is wanted now
    bool goes_on_ = true;
};

}  // namespace

void read_xfs_folder(XfsSearch& search, const XfsInode& folder, const OnEntry& on_entry) {
    if (!folder.is_folder()) return;
    search.tolerating([&] {
        if (xfs_format(folder, XfsFork::kContent) == XfsFormat::kLocal)
            return read_short(search, xfs_fork(folder, XfsFork::kContent), on_entry);
        FolderBlocks blocks(search, folder.number, on_entry);
        for_each_xfs_run(search, folder, XfsFork::kContent, [&](const XfsRun& run) {
            if (!run.is_tree) blocks.take(run);
        });
    });
}

}  // namespace dupengine::layout

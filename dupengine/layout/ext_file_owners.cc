// From blocks to files of ext2, ext3 and ext4: one pass over the inodes finds whose blocks they are, one over
// the directories finds the names.

#include <algorithm>
#include <map>
#include <unordered_map>

#include "layout/ext_filesystem.h"
#include "layout/ext_super.h"
#include "layout/file_owners.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using block::ExtentSet;

struct Name {
    ext2_ino_t folder = 0;
    std::string name;
};

class Search {
  public:
    Search(const ExtFilesystem& filesystem, const ExtSuper& super, const ExtentSet& places)
        : filesystem_(filesystem), block_bytes_(super.geometry.block_bytes), places_(places) {}

    FileOwners run() {
        scan_inodes();
        for (const ext2_ino_t folder : folders_)
            read_folder(folder);
        FileOwners owners;
        std::uint64_t in_files = 0;
        for (const auto& [inode, bytes] : bytes_of_) {
            owners.files.push_back({path_of(inode), bytes});
            in_files += bytes;
        }
        std::sort(owners.files.begin(), owners.files.end(),
                  [](const FileOwner& a, const FileOwner& b) { return a.path < b.path; });
        // A block that several files share, or count twice, is no more than itself.
        owners.other_bytes = places_.total_bytes() - std::min(in_files, places_.total_bytes());
        return owners;
    }

  private:
    void scan_inodes() {
        ext2_inode_scan scan = nullptr;
        filesystem_.check(ext2fs_open_inode_scan(filesystem_.get(), 0, &scan), "its inodes cannot be read");
        const std::unique_ptr<ext2_struct_inode_scan, decltype(&ext2fs_close_inode_scan)> closes(
            scan, ext2fs_close_inode_scan);
        ext2_inode inode{};
        for (;;) {
            const errcode_t failed = ext2fs_get_next_inode(scan, &current_, &inode);
            if (failed == EXT2_ET_BAD_BLOCK_IN_INODE_TABLE) continue;
            filesystem_.check(failed, "its inodes cannot be read");
            if (current_ == 0) return;
            if (inode.i_links_count == 0 && current_ >= EXT2_FIRST_INO(filesystem_.get()->super)) continue;
            if (LINUX_S_ISDIR(inode.i_mode)) folders_.push_back(current_);
            if (!ext2fs_inode_has_valid_blocks2(filesystem_.get(), &inode)) continue;
            // Damage in one inode hides its blocks and no others.
            ext2fs_block_iterate3(filesystem_.get(), current_, BLOCK_FLAG_READ_ONLY, nullptr,
                                  &Search::on_block, this);
        }
    }

    static int on_block(ext2_filsys, blk64_t* block, e2_blkcnt_t, blk64_t, int, void* self) {
        static_cast<Search*>(self)->look_at(*block);
        return 0;
    }

    void look_at(std::uint64_t block) {
        const Extent extent{block * block_bytes_, (block + 1) * block_bytes_};
        if (!places_.touches(extent)) return;
        bytes_of_[current_] += places_.clipped_to(extent).total_bytes();
    }

    void read_folder(ext2_ino_t folder) {
        current_ = folder;
        // As above: what cannot be read has no names.
        ext2fs_dir_iterate2(filesystem_.get(), folder, 0, nullptr, &Search::on_entry, this);
    }

    static int on_entry(ext2_ino_t, int entry, ext2_dir_entry* raw, int, int, char*, void* self) {
        const std::string name(raw->name, static_cast<std::size_t>(ext2fs_dirent_name_len(raw)));
        if (entry == DIRENT_OTHER_FILE && raw->inode != 0 && name != "." && name != "..")
            static_cast<Search*>(self)->names_.try_emplace(raw->inode,
                                                           Name{static_cast<Search*>(self)->current_, name});
        return 0;
    }

    std::string path_of(ext2_ino_t inode) const {
        if (inode == EXT2_JOURNAL_INO) return "(journal)";
        if (inode == EXT2_ROOT_INO) return "/";
        if (inode < EXT2_FIRST_INO(filesystem_.get()->super)) return fmt::format("(inode {})", inode);
        std::string path;
        constexpr int kDeepest = 1000;  // damaged folders can contain each other
        for (int depth = 0; inode != EXT2_ROOT_INO; ++depth) {
            const auto found = names_.find(inode);
            if (found == names_.end() || depth == kDeepest) return fmt::format("(inode {}){}", inode, path);
            path.insert(0, "/" + found->second.name);
            inode = found->second.folder;
        }
        return path;
    }

    const ExtFilesystem& filesystem_;
    std::uint64_t block_bytes_;
    const ExtentSet& places_;
    ext2_ino_t current_ = 0;
    std::vector<ext2_ino_t> folders_;
    std::map<ext2_ino_t, std::uint64_t> bytes_of_;
    std::unordered_map<ext2_ino_t, Name> names_;
};

}  // namespace

FileOwners ext_file_owners(const block::Reader& part, const ExtentSet& places) {
    const ExtSuper super = read_ext_super(part);
    const ExtFilesystem filesystem(part);
    return Search(filesystem, super, places).run();
}

}  // namespace dupengine::layout

#pragma once
// The inodes of an XFS, where their content lies, and what its folders hold ("XFS Algorithms & Data
// Structures", 3rd edition: "Inode B+trees", "On-disk Inode", "Data Extents", "Directories"). Internal to
// layout/. For those who look for names in whatever is left of a filesystem: what cannot be read or believed
// is left out, and XfsSearch::complete tells of it. Used by one thread.

#include <functional>
#include <string_view>

#include "layout/xfs_tree.h"

namespace dupengine::layout {

/// What a search needs to know of the filesystem, and how far it may still go.
struct XfsSearch {
    /// Throws kIntegrity for a superblock that gives no sensible inodes or folders. `part` outlives this.
    explicit XfsSearch(const block::Reader& part);

    const block::Reader& part;
    XfsSuper super;
    std::uint64_t inode_bytes = 0, folder_block_bytes = 0, root = 0;
    unsigned block_bits = 0, inode_bits = 0;  ///< of a number of a block / of an inode: below the group
    bool file_types = false;                  ///< entries of folders have a byte more
    bool sparse_chunks = false;
    std::uint64_t blocks_left = 0;  ///< of trees and folders: no sound filesystem has more, so loops end
    bool complete = true;

    /// Where a group's block lies. Throws kIntegrity for what lies outside it.
    block::Extent bytes_of(std::uint64_t group, std::uint64_t in_group, std::uint64_t count) const;
    /// Reads one block of a tree or some of a folder. Throws kIntegrity when there cannot be any more.
    Bytes read_structure(block::Extent extent);
    /// Runs `work`. What it cannot read or believe is left out; then it returns false.
    template <typename Work>
    bool tolerating(Work&& work) {
        try {
            work();
            return true;
        } catch (const Error& e) {
            if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
            return complete = false;
        }
    }
};

struct XfsInode {
    std::uint64_t number = 0;
    block::Extent place;  ///< bytes on the part
    bool in_use = false;  ///< as the group's tree of inodes says
    Bytes content;        ///< empty if it is not in use, cannot be read or is not what it should be

    bool is_folder() const;
};

/// All inodes that have a place on the disk, group by group.
void for_each_xfs_inode(XfsSearch& search, const std::function<void(const XfsInode&)>& on_inode);
/// One that should be in use; without content if there is none.
XfsInode read_xfs_inode(XfsSearch& search, std::uint64_t number);

/// The parts of an inode that point to blocks.
enum class XfsFork { kContent, kAttributes };
/// `bytes` of the inode that a fork has; empty if the inode has no such fork.
std::span<const std::byte> xfs_fork(const XfsInode& inode, XfsFork fork);
/// xfs_dinode.di_format
enum class XfsFormat : unsigned { kDevice = 0, kLocal = 1, kExtents = 2, kTree = 3, kIdentifier = 4 };
XfsFormat xfs_format(const XfsInode& inode, XfsFork fork);

struct XfsRun {
    bool is_tree = false;          ///< a block that says where others are
    std::uint64_t file_block = 0;  ///< where in the file it begins, in blocks
    block::Extent place;           ///< bytes on the part
};
/// Where the content of a fork lies, ascending.
void for_each_xfs_run(XfsSearch& search, const XfsInode& inode, XfsFork fork,
                      const std::function<void(const XfsRun&)>& on_run);

/// Every entry but ".", until `on_entry` says false.
void read_xfs_folder(XfsSearch& search, const XfsInode& folder,
                     const std::function<bool(std::uint64_t number, std::string_view name)>& on_entry);

}  // namespace dupengine::layout

#pragma once
// Which bytes of a filesystem are in use. One file per filesystem (ext.cc, fat.cc, ...); each refuses
// feature flags it does not know. Whatever is not understood, damaged or inconsistent is copied whole, and
// the result says why. Numbers on disk are never believed without a check; nothing is ever written or
// repaired.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "layout/signature.h"

namespace dupengine::layout {

class PlaintextFinder;

struct UsedExtents {
    /// Within [0, size of the part), in bytes: the filesystem's, aligned to its blocks, and all that lies
    /// behind its end, of which nobody knows that it is free.
    block::ExtentSet used;
    /// Allocated and not in use yet, so not worth reading, but the filesystem counts on zeros there: the
    /// inodes that no file of ext ever had. Apart from `used`.
    block::ExtentSet blank;
    bool whole = false;  ///< the whole part has to be copied
    std::string reason;  ///< why whole: "unknown feature 0x80000 (...)", "no known filesystem", ...
    std::string note;    ///< anything else a person should hear: "needs journal recovery; copied as it is"
    std::uint64_t block_bytes = 0;  ///< of the filesystem; 0 if unknown
    std::uint64_t filesystem_bytes =
        0;  ///< what the filesystem covers; may be less than the part, 0 if unknown
};

/// Looks at the part with the reader that fits its signature. Never throws for what it finds there (it falls
/// back to whole); throws only what reading throws.
/// `finder` may look into what is encrypted (plaintext.h); what that throws is thrown.
UsedExtents find_used_extents(const block::Reader& part, const std::optional<Signature>& signature,
                              PlaintextFinder* finder = nullptr);

// One per filesystem. They throw kIntegrity for what they cannot trust; find_used_extents turns that into
// `whole`.
UsedExtents btrfs_used_extents(const block::Reader& part);  ///< btrfs on one device (linux/btrfs_tree.h)
UsedExtents ext_used_extents(const block::Reader& part);    ///< ext2, ext3, ext4 (libext2fs)
UsedExtents exfat_used_extents(const block::Reader& part);  ///< exFAT, if it was unmounted cleanly
UsedExtents f2fs_used_extents(const block::Reader& part);   ///< F2FS, if it was unmounted cleanly
UsedExtents fat_used_extents(const block::Reader& part);    ///< FAT12, FAT16, FAT32 (Microsoft fatgen103)
UsedExtents luks_used_extents(const block::Reader& part, PlaintextFinder* finder);  ///< LUKS1, LUKS2
UsedExtents ntfs_used_extents(const block::Reader& part);  ///< NTFS (Linux-NTFS project's documentation)
UsedExtents swap_used_extents(const block::Reader& part);  ///< swap: its header page (and bad-page list) only
UsedExtents xfs_used_extents(const block::Reader& part);   ///< XFS of versions 4 and 5, if its log is clean

/// What becomes of a part whose structures cannot be read.
enum class Unreadable { kThrow, kWhole };
/// LVM2 physical volumes of one or more groups, down to the filesystems in the logical volumes that lie on
/// them alone, linear or striped. In the order of `parts`; never throws kIntegrity, but gives a reason.
std::vector<UsedExtents> lvm_used_extents(std::span<const block::Reader* const> parts, Unreadable unreadable,
                                          PlaintextFinder* finder = nullptr);

}  // namespace dupengine::layout

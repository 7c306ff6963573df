#pragma once
// A physical volume made by LVM's own programs, without device-mapper: a root volume in two pieces with a
// filesystem in it, a volume of unknown content between them, and free extents.

#include <string>
#include <vector>

#include "block/extent.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

struct LvmDisk {
    std::string path;
    std::vector<block::Extent> root;  ///< the pieces of "root", in its order
    block::Extent raw;                ///< "raw"
    block::Extent free;               ///< at the end
};

/// 96 MiB. The filesystem is that of the image file `root_image`, at most 48 MiB.
LvmDisk make_lvm_disk(const ScratchFolder& folder, const std::string& name, const std::string& root_image);

/// A volume group "vg0" on two disks, with two volumes that lie on both.
struct LvmSet {
    /// One run of a volume: chunks of `chunk_bytes`, from each of the stripes in turn.
    struct Run {
        struct Stripe {
            std::size_t disk;
            block::Extent place;
        };
        std::uint64_t chunk_bytes;
        std::vector<Stripe> stripes;
    };
    std::vector<std::string> paths;
    std::vector<Run> striped;  ///< 24 MiB in stripes of 64 KiB
    std::vector<Run> linear;   ///< 48 MiB, the one disk's rest and some of the other
};

/// Two disks of 48 MiB. The volumes hold the bytes of these images.
LvmSet make_lvm_set(const ScratchFolder& folder, const std::string& striped_image,
                    const std::string& linear_image);

/// The volume's bytes as a file, put together from the disks at these paths.
void read_lvm_volume(const std::vector<LvmSet::Run>& runs, const std::vector<std::string>& disks,
                     const std::string& into);

/// Runs an LVM command on these devices only, e.g. {"vgck", "vg0"}.
RunResult run_lvm(const std::vector<std::string>& devices, std::vector<std::string> command);
RunResult run_lvm(const std::string& device, std::vector<std::string> command);

}  // namespace dupengine::test

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

/// Runs an LVM command on this device only, e.g. {"vgck", "vg0"}.
RunResult run_lvm(const std::string& device, std::vector<std::string> command);

}  // namespace dupengine::test

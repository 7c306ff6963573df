#pragma once
// What an LVM2 physical volume says of itself: its label, and the text in which it keeps its group. Internal
// to layout/. Never writes. Format: lib/format_text/layout.h of the LVM2 sources (label, header, metadata
// area).

#include <string>
#include <vector>

#include "block/device.h"

namespace dupengine::layout {

struct LvmLabel {
    std::string id;  ///< of the physical volume, without dashes
    /// Of its group (lvm_group.h), from each area that holds any: LVM takes the newest, which may not be the
    /// first.
    std::vector<std::string> metadata;
    block::ExtentSet own;  ///< the physical volume's own structures: label, metadata, a boot loader's area
};

/// Throws kIntegrity for what it cannot trust or does not know.
LvmLabel read_lvm_label(const block::Reader& part);

}  // namespace dupengine::layout

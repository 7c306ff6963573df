#pragma once
// What of a disk has to be read to describe it: found by describing it here, where reading costs no way over
// the wire. The other end, which plans, describes it with the same code and so reads the same bytes.

#include "wire/message.h"

namespace dupengine::wire {

struct Preparation {
    block::ExtentSet ranges;   ///< whole multiples of a page
    std::vector<Known> known;  ///< libblkid looks at megabytes of each partition; better here than there
};

/// What layout::describe_disk reads, and both ends of the disk. A disk that cannot be described is told of as
/// far as it went: whoever plans finds out why.
Preparation prepare_to_describe(const block::Reader& disk);

}  // namespace dupengine::wire

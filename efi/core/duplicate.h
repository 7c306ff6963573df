#pragma once
// Copies one disk onto another as it was planned, in the order that leaves no plausible garbage
// (ARCHITECTURE.md): marks, data, read back and compared, the table's primary copy, its backup. What fails
// leaves the marks, so the disk does not start, and the same copy can be done again.

#include "efi/core/duplicate_plan.h"

namespace dupengine::efi {

class DuplicateWatcher {
  public:
    /// `phase`: "copies" or "compares".
    virtual void at(TextView phase, std::uint64_t done, std::uint64_t total) = 0;

  protected:
    ~DuplicateWatcher() = default;
};

struct DuplicateResult {
    TextView reason;         ///< why it failed; empty: the copy is complete and verified
    bool has_begun = false;  ///< something may have been written
};

/// `scratch`: at least kSurveyScratchBytes, aligned for the disks.
DuplicateResult apply_duplicate(const DuplicatePlan& plan, Disk& source, WritableDisk& target, Buffer scratch,
                                DuplicateWatcher& watcher);

}  // namespace dupengine::efi

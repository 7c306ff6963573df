#pragma once
// What `receive`, and `copy` from dup://, do with a source at another machine: plan, apply, and say how it
// went. Onto a disk in memory.

#include <chrono>

#include "engine/apply.h"
#include "tests/support/fake_devices.h"
#include "wire/link.h"

namespace dupengine::test {

struct RemoteCopyOptions {
    engine::CopyOptions copy;
    std::chrono::milliseconds journal_pace{2000};
};

/// Throws what ends it; the other end is told.
engine::CopyReport copy_over(wire::Link& link, const std::shared_ptr<DiskBytes>& to,
                             const RemoteCopyOptions& options);

/// Whether it is what it was before, or plainly unfinished.
bool is_old_or_marked(const std::shared_ptr<DiskBytes>& now, const Bytes& before);

/// The bytes of an extent.
Bytes part_of(const Bytes& disk, block::Extent extent);

}  // namespace dupengine::test

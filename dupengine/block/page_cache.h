#pragma once
// What this machine holds in memory of a disk or an image file. An outside program reads through it, so what
// it checks need not be what the medium holds.

#include "block/device.h"

namespace dupengine::block {

/// Writes out what is still to be written to the open disk and forgets the rest: whoever reads next reads the
/// medium. Throws kTargetIo. Nothing happens for what has no descriptor (a fake) or no medium but memory
/// (tmpfs).
void forget_cached(const Reader& disk);

}  // namespace dupengine::block

#pragma once
// Whether a block device is written while it is read: by a program that has it open, or through a mapped
// device above it. Promises that what this kernel wrote to the device, or discarded of it, shows, where it
// can show at all; of a partition only what went through the partition, because its disk has other writers,
// too. Never writes.

#include <string>

#include "layout/in_use.h"

namespace dupengine::layout {

struct WritesSeen {
    std::string text;  ///< of one device: two that differ mean that it was written in between
    bool all = false;  ///< two that are equal mean that it was not
};

/// Until now. What programs wrote through the page cache is flushed first, so that it counts as before. Not
/// `all` of a mapped device (dm, md), which can be written below; where the kernel counts nothing; of a
/// loop device whose file cannot be found, or has no times that could be believed. Of a file, which has times
/// instead, the text is empty. Throws nothing: what cannot be asked shows nothing.
WritesSeen writes_until_now(const std::string& path, const SystemRoots& roots = {});
/// Of a block device, without the flush.
WritesSeen writes_until_now(const block::PathIdentity& device, const SystemRoots& roots);

}  // namespace dupengine::layout

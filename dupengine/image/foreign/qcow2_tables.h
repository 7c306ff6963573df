#pragma once
// Where a qcow2 file says that the data of its disk lie (docs/interop/qcow2.txt of QEMU), held against where
// the file ends. QEMU reads zeros there, and its check lets a file end anywhere within its last cluster: a
// download that broke off would be copied without a word.
//
//     header -> L1 table -> L2 tables, each once -> end of what each entry names <= size of the file
//
// Pure but for the reads of the file: never more than its length, the L1 table (32 MiB at most) and 512
// clusters. Memory is taken for two clusters (of 2 MiB at most) and a part of the L1 table.

#include "block/device.h"

namespace dupengine::image {

/// Throws kSourceIo if anything of the disk lies behind the end of `file`, or its tables make no sense.
/// Snapshots within the file are not looked at: they are no part of the disk.
void refuse_if_cut_off(const block::Reader& file);

}  // namespace dupengine::image

#pragma once
// A file that holds a disk in somebody else's form, as a disk. The file is never written, and no other file
// is opened on its behalf: all that look at it are given the one that the caller opened.
//
//     raw.gz, .xz, .zst, .bz2   unpacked once, to the end and checked, into a scratch file, which is the disk
//     qcow2                     header (qcow2_header), where its data lie (qcow2_tables), qemu-img check;
//                               then read where it is, through qemu-nbd

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "block/device.h"
#include "image/foreign/foreign_file.h"
#include "image/foreign/kind.h"

namespace dupengine::image {

struct ForeignDisk {
    std::unique_ptr<block::Reader> reader;
    std::string note;  ///< for the plan: what it was, and what became of it
    /// Asked to stop, the reader waits for nobody any more and throws kInterrupted. Empty if it never waits.
    /// While nothing is read.
    std::function<void(std::stop_token)> set_stop;
};

/// Empty for a device and for a raw file. The file need not stay open. Throws kRefused (no room to unpack it;
/// it may not be what it seems; it refers to other files; a virtual machine uses it), kSourceIo if it is
/// damaged or cut off, kUnsupported if the program for it is not there.
ForeignDisk open_foreign(const ForeignFile& file, SourceFormat format);

/// foreign/unpack.cc. `form` is one of the compressed ones.
ForeignDisk unpack(const ForeignFile& packed, DiskForm form);
/// foreign/qcow2.cc.
ForeignDisk open_qcow2(const ForeignFile& file);
/// foreign/qcow2_header.cc. Throws kRefused for what names other files, is encrypted or marked as damaged;
/// kUnsupported for what it does not know.
void check_qcow2_header(std::span<const std::byte> begin, const std::string& name);

}  // namespace dupengine::image

#pragma once
// What a filesystem says of its own place on the disk: the boot sectors of FAT, NTFS and exFAT hold the
// number of the sector where their partition begins ("hidden sectors", "partition offset"). A partition that
// moves needs the new number, or what boots from it looks in the wrong place.

#include <string>
#include <vector>

#include "block/device.h"
#include "layout/partition_table.h"

namespace dupengine::engine {

/// The pieces of `part`, which begins at `before` and will at `after`, that have to be laid over it. Nothing
/// where the number was not right before. Offsets count from the start of the part.
std::vector<layout::TableImage::Piece> boot_sectors_for(const block::Reader& part, const std::string& type,
                                                        ByteOffset before, ByteOffset after,
                                                        std::uint32_t sector_bytes);

/// Whether a boot loader begins in front of an ext filesystem (EXTLINUX; GRUB in a partition). It finds the
/// rest of itself by sectors, which nothing corrects: they are others when the partition moves, and can be
/// when the filesystem becomes smaller.
bool has_boot_loader_in_front(const block::Reader& part, const std::string& type);

}  // namespace dupengine::engine

#pragma once
// Whose bytes they are, for tests: asked of ourselves, and of the kernel; and what a user is told of it.

#include <map>
#include <string>
#include <vector>

#include "layout/file_owners.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

using Owners = std::map<std::string, std::uint64_t>;

layout::FileOwners find_owners(const block::Reader& part, const std::string& type,
                               const block::ExtentSet& places);
Owners by_path(const layout::FileOwners& found);
/// Of an image of which everything can be read. What is in no file is "other".
Owners owners_of(const std::string& image, const std::string& type, const block::ExtentSet& places);

/// Structures with flipped bits: no crash, no hang, and never more bytes than were asked for.
void expect_sane(const block::Reader& disk, const std::string& type, const std::string& line);

/// The pieces of a file on its device, as the kernel tells them; of btrfs, its logical addresses.
std::vector<block::Extent> fiemap_of(const std::string& path);

void write_pieces(const std::string& path, unsigned pieces, std::uint64_t step);
/// Files in one piece and in thousands, with holes, deep down and one of many.
std::vector<std::string> make_files(const std::string& root, unsigned many);

/// What a user sees of all this. The filesystem lies on a disk of its own, and the byte `lost` of it cannot
/// be read: copy and verify name this file.
void expect_named_to_the_user(const ScratchFolder& scratch, const std::string& image, ByteOffset lost,
                              const std::string& path);

}  // namespace dupengine::test

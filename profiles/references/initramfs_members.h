#pragma once
// The members of an initramfs as the kernel unpacks it: the file is a row of cpio archives, each plain or
// compressed (gzip, xz, zstd, lz4, lzma, bzip2), often one with processor microcode first. Pure.

#include <functional>
#include <string_view>

#include "profiles/references/cpio.h"

namespace dupengine::profiles {

using MemberTaker = std::function<void(const CpioMember&)>;

/// Whether the file begins as an initramfs or as something compressed.
bool may_be_initramfs(std::string_view file);
/// All of them in the kernel's order: a later member replaces an earlier one of the same name
/// (init/initramfs.c). False for something else that is compressed. Throws kIntegrity if the file begins as
/// an initramfs and then cannot be read.
bool take_initramfs_members(std::string_view file, const MemberTaker& take);
/// What makes `members` one more archive of it, to be put at its end.
std::string addition_to_initramfs(std::string_view file, const std::vector<CpioMember>& members);

}  // namespace dupengine::profiles

#pragma once
// A profile store in a file of 2 MiB, for a profile that must survive elsewhere than on the duplicated disk:
// a USB stick, a second disk. Mode 0600, because it holds the node's secret. Locked (flock) while it is
// written.

#include "profiles/store.h"

namespace dupengine::profiles {

std::unique_ptr<ProfileStore> file_store(const std::string& path);

/// Makes the file and writes `first` into it. An existing file is taken only if it is as large as a store and
/// blank (an init that was cut), or, with `replace_damaged`, if neither slot can be used. Throws kRefused
/// otherwise, or if the file would lie in /dev.
void init_file_store(const std::string& path, const StoredProfile& first, bool replace_damaged);
/// The refusals of init_file_store alone; writes nothing.
void check_new_file_store(const std::string& path, bool replace_damaged);

}  // namespace dupengine::profiles

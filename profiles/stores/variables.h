#pragma once
// A profile store in two variables of the machine's firmware: it stays with the machine whatever becomes of
// its disks, and no copy writes there. Each variable is a short slot (slots.h); firmware replaces a variable
// whole or not at all, and an update writes the one that is not the newest good one, so a full memory, a
// refusal or a cut leave the old profile. Firmware has little room: usually 32 KiB for one variable, and
// some 64 to 256 KiB for all of everybody.
//
// The node's secret is in them. Other users may not read them from the moment on when they are written; after
// a start the kernel knows nothing of that (machine/efi_variables.h).

#include "profiles/store.h"

namespace dupengine::profiles {

/// `folder`: where the variables are; empty: where the kernel has them, and a system that runs from memory
/// mounts them there. Every use throws kUnsupported if there are none.
std::unique_ptr<ProfileStore> variable_store(const std::string& folder);

/// Makes them. Throws kRefused if there is a profile already; one that cannot be used is given up with
/// `replace_damaged`.
void init_variable_store(const std::string& folder, const StoredProfile& first, bool replace_damaged);
/// The refusals of init_variable_store alone; writes nothing.
void check_new_variable_store(const std::string& folder, bool replace_damaged);

/// Whether this machine's firmware has a profile store. Never throws: a machine without variables has none.
bool has_variable_store(const std::string& folder = {});

}  // namespace dupengine::profiles

#pragma once
// The small system (dupengine-initramfs(8)) as something that a loader can start: a kernel, an initrd, and
// what the kernel is told. Both files are stored under names that follow from their content, so that the
// entry of a loader and what it names change in one step: the entry's. One thread at a time.

#include <string>
#include <vector>

namespace dupengine::boot {

struct SmallSystem {
    std::string kernel, initrd;  ///< files
    std::string command_line;    ///< of all entries
    std::string duplicate;       ///< what more makes it duplicate by itself; empty: there is no such entry
};

/// What a person chooses it by, and the kernel's command line.
struct SmallEntry {
    std::string word;  ///< "recovery", "duplicate"
    std::string title;
    std::string command_line;
};

inline constexpr const char* kRecovery = "recovery";
inline constexpr const char* kDuplicate = "duplicate";

/// Throws kUsage for a command line that is more than one line of text.
std::vector<SmallEntry> entries_of(const SmallSystem& system);

/// Names in the folder in which both are stored.
struct StoredSystem {
    std::string kernel, initrd;
};

/// Stores both in the folder, which is made if it is not there, so that they are durable. Only their owner
/// may read them: an initrd can hold keys. Throws kUsage if a file cannot be read, kTargetIo.
StoredSystem store_system(const SmallSystem& system, const std::string& folder);

/// Deletes the others that were stored there, and what a cut left of them; files of others stay. To be called
/// when nothing names them any more.
void delete_others(const std::string& folder, const std::vector<std::string>& keep);

}  // namespace dupengine::boot

#pragma once
// Entries of the Boot Loader Specification (uapi-group.org), as systemd-boot reads them: their text, and the
// counter in the name of their file, NAME+LEFT-DONE.conf. Pure.

#include <optional>
#include <string>
#include <string_view>

#include "bootloader_hooks/small_system.h"

namespace dupengine::boot {

struct EntryName {
    std::string name;              ///< without counter and suffix
    std::string suffix;            ///< ".conf"
    std::optional<unsigned> left;  ///< how many tries; nothing: they are not counted

    /// As a file's name, with no try done yet.
    std::string text() const;
    /// What stays the same however often it is tried.
    std::string uncounted() const { return name + suffix; }
};

/// What is no counter belongs to the name.
EntryName parse_entry_name(std::string_view file);

/// The text of an entry's file; `folder` is that of kernel and initrd, from the root of the partition.
std::string entry_text(const SmallEntry& entry, const StoredSystem& files, std::string_view folder);

}  // namespace dupengine::boot

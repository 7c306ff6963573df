#pragma once
// What firmware reads of a profile, and what it should read: the same by way of profiles/. For tests and fuzz
// targets.

#include <string>

#include "efi/core/node_profile.h"
#include "profiles/profile.h"

namespace dupengine::test {

struct EfiFacts {
    std::string node, roles, choice, partition, loader, kernel, initrd, command_line, receive_disk,
        restore_from, fallback;
    unsigned timeout_seconds = 0, tries = 0;
    bool operator==(const EfiFacts&) const = default;
};

EfiFacts facts_of(const efi::NodeProfile& profile);
EfiFacts facts_of(const profiles::Profile& profile);

}  // namespace dupengine::test

#pragma once
// Personality items: one file each. An item looks at the copied system as it is planned so far and stages
// what must be different on this node. Nothing is written, nothing outside the context is read; the same
// context gives the same changes. They throw kRefused, before anything is changed, for what the profile asks
// and cannot be had.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/random.h"
#include "profiles/profile.h"
#include "profiles/references/identifier_map.h"
#include "profiles/system/staged.h"
#include "profiles/system/system.h"

namespace dupengine::profiles {

struct ItemContext {
    const Profile& profile;
    const NodeSecret& secret;
    Staged& staged;
    RandomSource& random;
    /// What an earlier run on this copy drew (kRegenerate), and what this one draws: a second run changes
    /// nothing.
    std::map<std::string, std::string>& remembered;
    std::vector<std::string>& notes;  ///< for a person
};

void stage_hostname(ItemContext& context);       ///< /etc/hostname, /etc/hosts, /etc/mailname
void stage_machine_id(ItemContext& context);     ///< /etc/machine-id, /var/lib/dbus/machine-id
void stage_ssh_host_keys(ItemContext& context);  ///< /etc/ssh/ssh_host_*
void stage_random_seed(ItemContext& context, const std::vector<std::string>& boot_folders);
void stage_enrolment(
    ItemContext& context);  ///< /etc/dupengine/peers; before the files, which may be the node's own
void stage_files(ItemContext& context);
void stage_hosts(ItemContext& context);     ///< a marked block in /etc/hosts
void stage_users(ItemContext& context);     ///< ~/.ssh/authorized_keys
void stage_services(ItemContext& context);  ///< as systemctl --root does
void stage_links(ItemContext& context);     ///< for what manages the network there, after the services

/// The machine-id that the system shall have, if it has one now and the profile gives it another; empty
/// otherwise.
std::string wanted_machine_id(ItemContext& context);

/// What the profile's links are on this node.
std::vector<WantedLink> wanted_links(const Profile& profile, const NodeSecret& secret);

/// The identifiers that shall be different.
std::vector<IdentifierChange> plan_identifiers(ItemContext& context, const std::vector<Identifier>& present,
                                               const std::set<PartitionId>& kept_partitions);
/// What refers to them, as text.
IdentifierMap storage_references(const std::vector<IdentifierChange>& changes,
                                 const std::vector<PartitionId>& partitions);

/// What is said of a partition from run to run, and what is derived for it, goes by this name: "fs_uuid 2";
/// on the disk after the first "fs_uuid 2 of disk 1".
std::string lasting_name(std::string_view what, PartitionId partition);

/// 32 bytes that depend on the node's secret and on `what` only.
Bytes derive(const NodeSecret& secret, std::string_view what);
Guid derive_guid(const NodeSecret& secret, std::string_view what);

/// Throws kRefused: this item cannot be had in this way.
[[noreturn]] void refuse_mode(std::string_view item, Mode mode);

}  // namespace dupengine::profiles

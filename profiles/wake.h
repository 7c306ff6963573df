#pragma once
// The role of a duplicate that has just woken up in its source's memory, on its own disks, while all other
// user space is frozen. Two steps, called by who knows when:
//
//   read_wake_role   first of all, while the file systems are frozen still: writes nothing and asks the
//   media,
//                    because the kernel's memory of the disks is the source's. An error means that this
//                    machine is nobody: its gate stays closed and its links stay down.
//   take_up_role     when the file systems can be written: files, identifiers, the kernel's host name, under
//   the
//                    journal of taking up a role. A cut is finished by the next run, here or by assume
//                    --disk.
//
// Nobody is there to be asked. What an earlier run left half-way is finished or undone as its journal says;
// whatever else a person would be asked about is refused, or told in the notes. Used by one thread.

#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "profiles/node_role.h"
#include "profiles/profile.h"
#include "profiles/system/staged.h"

namespace dupengine::profiles {

struct WakeRequest {
    std::vector<std::string> disks;  ///< that the system runs from
    std::string store;  ///< empty: the profile partition of one of them; not file:, which is the source's
    std::vector<std::string> role_folders;  ///< come before the system's own
    std::set<std::string> left_references;  ///< as AssumeOptions has them
    std::string root = "/";                 ///< where the root is mounted; another folder in tests
    block::Media media = {};                ///< of the disks
};

struct WakeRole {
    StoredRole stored;
    Profile profile;                ///< merged with its roles
    std::vector<WantedLink> links;  ///< what the links of this node are
};

/// Throws kRefused for a store that a system which wakes up cannot read, kUsage for none.
void check_wake_store(const std::string& store);

/// Throws kRefused if there is no profile that can be used, a role is bad or nowhere, or the system is none
/// that can be changed while it runs (running_system.h).
WakeRole read_wake_role(const WakeRequest& request);

/// At the source, before anything else: whether a duplicate of this system could take up a role when it
/// wakes. Looks as that will, and so has the kernel load what it takes to mount an ESP; where processes are
/// frozen it can load nothing. Writes nothing. Throws kRefused with what would stop every role: a root that
/// is on no partition of `disks` or is no ext or XFS filesystem, a boot folder that cannot be read, a part
/// that is mounted read-only.
void refuse_if_it_could_not_wake(const std::vector<std::string>& disks, const std::string& root = "/");

struct WakeReport {
    std::string node;
    std::vector<std::string> roles;
    std::uint64_t generation = 0;
    std::string host_name;        ///< that the kernel has now; empty: left as it was
    std::vector<Change> changes;  ///< as in the plan of assume
    std::vector<std::string> notes;
    /// Programs to be run in this order when user space is thawed: until then nobody would answer them. One
    /// that fails is worth a line, and no reason to stop.
    std::vector<std::vector<std::string>> calls;
    /// After those; waited for. If one fails, something that knows the source's addresses goes on, and no
    /// link may go up.
    std::vector<std::vector<std::string>> network_calls;
    /// When the links are up.
    std::vector<std::vector<std::string>> calls_when_up;
};

/// Throws kRefused before anything is changed, or what writing throws.
WakeReport take_up_role(const WakeRequest& request, const WakeRole& role, RandomSource& random);

/// What has to be told to the running systemd so that it follows what was changed on the disk: units that the
/// role enables, disables or masks; keys and configuration that a service has read already.
std::vector<std::vector<std::string>> calls_after_thaw(const Profile& profile, const Tree& tree,
                                                       const std::vector<Change>& changes);
/// What manages the network, and runs, is started anew, whether its files were changed or not: it has the
/// source's addresses and leases in its memory. What the role turns off has ended first.
std::vector<std::vector<std::string>> network_calls(const Profile& profile, const Tree& tree);
/// With ifupdown nobody but this starts a DHCP client again.
std::vector<std::vector<std::string>> calls_when_up(const Profile& profile, const Tree& tree);

}  // namespace dupengine::profiles

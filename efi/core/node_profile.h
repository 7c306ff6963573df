#pragma once
// What firmware wants of a machine's profile: who it is, and [boot], how it starts (dupengine-profile(5)).
// The node's own text only: roles are files of a system that does not run yet. Pure.

#include <optional>

#include "efi/core/guid.h"
#include "efi/core/text.h"

namespace dupengine::efi {

/// What a machine does by itself when its time-out has passed. The words are those of the profile.
enum class Choice { kDisk, kKernel, kReceive, kRestore, kMenu };
TextView choice_word(Choice choice);
std::optional<Choice> choice_of(TextView word);

using PathText = Text<256>;

/// If the profile gives none.
inline constexpr std::uint32_t kUsualTimeout = 5;

struct BootSettings {
    Choice choice = Choice::kDisk;
    std::uint32_t timeout_seconds = 0;
    std::optional<Guid>
        partition;    ///< where the files are; not given: the EFI system partition of the profile's disk
    PathText loader;  ///< as in the profile, "/EFI/debian/grubx64.efi"; empty: where firmware would look
    PathText kernel, initrd;
    Text<2048> command_line;
    Text<256> receive_disk, restore_from;
    PathText duplicate_from;          ///< a disk image on a web server
    Choice fallback = Choice::kDisk;  ///< when the choice fails; kMenu if the profile gives none
    std::uint32_t tries = 0;  ///< what the system that takes up the role writes; 0: the profile gives none
};

struct NodeProfile {
    Text<64> node;
    Text<128> roles;  ///< "base, web", cut if there are many
    BootSettings boot;
};

/// Reads the text of a slot. Returns nothing, or why it is no profile that can be followed; then `into` is
/// unfinished.
TextView read_profile(TextView text, NodeProfile& into);

/// "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", either case.
std::optional<Guid> guid_of(TextView text);

}  // namespace dupengine::efi

#pragma once
// Who vouches for what is started: signatures of files, which stand beside them, and of profiles, which end
// with theirs (dupengine-formats(5)). Firmware with Secure Boot looks at programs only; initrd, command line
// and profile are looked at here. The keys are a part of dupengine.efi, so that firmware's own check covers
// them. Pure.

#include "efi/core/ed25519.h"

namespace dupengine::efi {

/// Whom this machine believes.
struct Trust {
    std::span<const PublicKey> keys;  ///< none: nothing is checked here
    bool secure_boot = false;         ///< firmware checks programs

    bool wants_signatures() const { return !keys.empty(); }
};

enum class Vouched { kYes, kMissing, kDamaged, kStranger, kChanged };

/// `signature`: the file beside it; empty: there is none.
Vouched check_file(const Trust& trust, Bytes content, TextView signature);

/// A profile's text, which ends with its signature.
Vouched check_profile(const Trust& trust, TextView text);

/// For a person: "its kernel is not signed". Nothing for kYes.
enum class SignedThing { kProfile, kLoader, kKernel, kInitrd, kImage };
TextView fault_text(SignedThing thing, Vouched vouched);

}  // namespace dupengine::efi

#pragma once
// A LUKS container's header made anew: the same identity and layout, but a fresh volume key and one key slot.
// libcryptsetup makes it, in memory. Never writes to a disk. Keys are overwritten when they are no longer
// needed and never become text.

#include <string>

#include "base/random.h"
#include "base/secret.h"
#include "layout/luks.h"

namespace dupengine::layout {

struct KeyedHeader {
    LuksHeader header;
    Bytes area;         ///< all that lies in front of the payload
    Secret volume_key;  ///< encrypts the payload
    std::string slot;   ///< how its key slot guards the volume key: "argon2id"
};

/// A header like that of `part`, which is `old`: version, UUID, label, subsystem, cipher, key size, sector
/// size, place of the payload, flags of activation. `key` opens its only slot. That is of PBKDF2 if a slot of
/// the old one is that was not made for a token (boot loaders know nothing else), else of the old kind; its
/// costs are what libcryptsetup finds right on this machine, in no more memory than the old one takes. Throws
/// kRefused with the reason.
KeyedHeader make_luks_header(const block::Reader& part, const LuksHeader& old, const Secret& key,
                             RandomSource& random);

/// The header that `part` has already, if it is one like `old` and `key` opens it. Throws kIntegrity if it is
/// another, kRefused if the key does not open it.
KeyedHeader take_luks_header(const block::Reader& part, const LuksHeader& old, const Secret& key);

}  // namespace dupengine::layout

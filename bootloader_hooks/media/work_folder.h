#pragma once
// Where what becomes a medium is put together.

#include "base/temporary_folder.h"

namespace dupengine::boot {

/// Not in /tmp, which is often small. Throws kTargetIo.
inline TemporaryFolder work_folder() {
    return {"/var/tmp", "media-", Code::kTargetIo};
}

}  // namespace dupengine::boot

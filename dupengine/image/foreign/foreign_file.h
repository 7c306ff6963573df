#pragma once
// A file in somebody else's form, opened once for all who read it: its name may be given to another file at
// any moment, by whoever may write in its folder.

#include <string>

#include "block/open.h"

namespace dupengine::image {

struct ForeignFile {
    int fd = -1;       ///< somebody else's, who keeps it open
    std::string name;  ///< for messages
    /// To open it once more, here or in another program.
    std::string path() const { return block::lasting_path(fd); }
};

}  // namespace dupengine::image

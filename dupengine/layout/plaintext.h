#pragma once
// Where the payload of a LUKS container can be read as it is behind its encryption, so that the used extents
// of what is inside can be found: through a mapping that is open on this machine (open_mappings.h), or with a
// key (luks_key.h). Used from one thread.

#include <memory>
#include <string>

#include "block/device.h"
#include "layout/luks.h"

namespace dupengine::layout {

/// The plaintext of a payload, from its first byte on. May end before the payload does.
struct Plaintext {
    std::unique_ptr<block::Reader> reader;  ///< null: there is none here
    std::string how;                        ///< "open as cryptroot"; why none: "closed"
    bool is_new = false;                    ///< the container is a view of another, with a key of its own
};

class PlaintextFinder {
  public:
    virtual ~PlaintextFinder() = default;
    /// `part` holds the container with this header, and outlives what is found. Throws kRefused for a
    /// container that should have opened and did not; what reading throws.
    virtual Plaintext find(const block::Reader& part, const LuksHeader& header) = 0;
    /// As what a container on `part` is open whose header lies elsewhere; empty if there is none.
    virtual std::string open_without_header(const block::Reader& /*part*/) { return ""; }
    /// Told of what nobody can look into, in which a container may lie unseen. May throw kRefused.
    virtual void pass_by(const std::string& /*what*/, const std::string& /*why*/) {}
};

}  // namespace dupengine::layout

#pragma once
// A source whose LUKS containers get keys of their own on the target: not the source, which is never written,
// but a view of it. In each container's place lies one with a new header (layout/luks_new_key.h), and the
// same plaintext encrypted under a new volume key while it is read. The view is a disk like any other, as
// large as the source; shrinking, planning, copying and verifying go on with it.

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/secret.h"
#include "block/device.h"
#include "layout/plaintext.h"

namespace dupengine::engine {

/// Finds the plaintext of containers in the views that rekey_source made, wherever they were moved. Whoever
/// asks for new keys wants no container to keep its old one: what is a container and has no new key, and what
/// may hold one unseen, is refused.
class RekeyedContainers final : public layout::PlaintextFinder {
  public:
    void add(Bytes header_begin, std::shared_ptr<const block::Reader> plain);
    std::size_t count() const { return containers_.size(); }

    layout::Plaintext find(const block::Reader& part, const layout::LuksHeader& header) override;
    void pass_by(const std::string& what, const std::string& why) override;

  private:
    struct Container {
        Bytes header_begin;  // random enough: it holds the salt of the volume key's digest
        std::shared_ptr<const block::Reader> plain;
    };
    std::vector<Container> containers_;
};

struct Rekeyed {
    std::vector<std::shared_ptr<const block::Reader>> parts;  ///< what the view reads from, beside the source
    std::unique_ptr<block::Reader> view;                      ///< null: there is no container on the source
    std::vector<std::string> notes;                           ///< what was changed, one line each
};

/// What the containers are opened and made with.
struct Rekeying {
    layout::PlaintextFinder& old;  ///< of the source's containers
    const Secret& key;             ///< opens the new ones
    RandomSource& random;
    /// null: headers and volume keys are made. Else they are those that the same partitions of this copy
    /// have, which `key` opens: so a copy is compared.
    const block::Reader* copy = nullptr;
    RekeyedContainers& made;  ///< the new ones are added to these
};

/// Throws kRefused, naming the partition, for a container whose plaintext cannot be read or that cannot be
/// made anew; kIntegrity if `copy` has another in its place; what reading throws. `source` must outlive the
/// result and what was added to `made`. What make_plan refuses (a damaged table) is left to it.
Rekeyed rekey_source(const block::Reader& source, const Rekeying& rekeying);

}  // namespace dupengine::engine

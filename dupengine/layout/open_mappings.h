#pragma once
// LUKS containers that are open on this machine (cryptsetup open): their plaintext is read through the
// kernel's mapping, so that no key is needed. A mapping counts only if it lies on exactly the asked bytes,
// was made from this very header, and decrypts where this header says that the payload is. Never writes; what
// others wrote through a mapping is brought to the disk before the disk is read.

#include <functional>
#include <vector>

#include "base/fd.h"
#include "layout/crypt_table.h"
#include "layout/in_use.h"
#include "layout/plaintext.h"

namespace dupengine::layout {

class OpenMappings final : public PlaintextFinder {
  public:
    using AskTable = std::function<std::optional<CryptTable>(DeviceNumber mapped)>;
    /// What it is for: kCopy keeps others from mounting a mapping as long as this lives, where nobody uses it
    /// yet, and flushes it.
    enum class For { kLook, kCopy };

    explicit OpenMappings(For purpose, const SystemRoots& roots = {});
    /// Another kernel's answers, for tests.
    OpenMappings(For purpose, const SystemRoots& roots, AskTable ask);

    Plaintext find(const block::Reader& part, const LuksHeader& header) override;
    std::string open_without_header(const block::Reader& part) override;

  private:
    std::optional<DeviceNumber> mapping_on(const block::Reader& part, const BlockGraph& graph) const;
    Plaintext open(const std::string& name, const std::string& node);

    For purpose_;
    SystemRoots roots_;
    AskTable ask_;
    std::vector<Fd> held_;
};

}  // namespace dupengine::layout

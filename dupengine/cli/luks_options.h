#pragma once
// What the command line says of LUKS containers on the source, for the verbs that read one. Prints nothing.

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "layout/luks_key.h"
#include "layout/open_mappings.h"

namespace dupengine::cli {

struct LuksOptions {
    std::vector<std::string> key_files;
};

void add_luks_options(CLI::App& verb, LuksOptions& options);

/// Looks into the source's containers: through open mappings, then with the keys. As long as it lives, an
/// open mapping that nobody uses stays so.
class SourcePlaintext {
  public:
    /// Throws kRefused for a key file that cannot be read.
    explicit SourcePlaintext(const LuksOptions& options);
    layout::PlaintextFinder& finder();
    /// When the source has been looked at: overwrites the keys. Open mappings stay held.
    void forget_keys() { keys_.reset(); }
    /// What a person should know of the key files, one line each.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    layout::OpenMappings open_{layout::OpenMappings::For::kCopy};
    std::optional<layout::LuksKeys> keys_;
    std::vector<std::string> notes_;
};

}  // namespace dupengine::cli

#pragma once
// What the command line says of LUKS containers on the source, for the verbs that read one. Prints nothing.

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "engine/refit/rekey.h"
#include "layout/luks_key.h"
#include "layout/open_mappings.h"

namespace dupengine::cli {

struct LuksOptions {
    std::vector<std::string> key_files;
    std::string new_key_file;
};

/// `new_key_help`: what --luks-new-key-file means for this verb.
void add_luks_options(CLI::App& verb, LuksOptions& options, const std::string& new_key_help);

/// Looks into the source's containers: through open mappings, then with the keys; and gives them new ones if
/// that was asked for. As long as it lives, an open mapping that nobody uses stays so.
class SourcePlaintext {
  public:
    /// Throws kRefused for a key file that cannot be read.
    explicit SourcePlaintext(const LuksOptions& options);
    /// For planning: of the sources, or of their views if there are new keys.
    layout::PlaintextFinder& finder();
    /// When the source has been looked at: overwrites the keys. Open mappings stay held.
    void forget_keys() { keys_.reset(); }
    /// Nothing if no new key was given. `copy`: one that was made with it, to be compared; or null.
    engine::Rekeyed rekey(const block::Reader& source, const block::Reader* copy);
    /// Throws kRefused if a new key was given and none of the sources had a container.
    void refuse_useless_key() const;
    /// What a person should know of the key files, one line each.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    Secret read_key(const std::string& path);
    layout::PlaintextFinder& finder_of_sources();

    layout::OpenMappings open_{layout::OpenMappings::For::kCopy};
    std::optional<layout::LuksKeys> keys_;
    std::optional<Secret> new_key_;
    engine::RekeyedContainers rekeyed_;
    SystemRandom random_;
    std::vector<std::string> notes_;
};

}  // namespace dupengine::cli

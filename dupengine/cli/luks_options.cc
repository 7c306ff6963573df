#include "cli/luks_options.h"

namespace dupengine::cli {

void add_luks_options(CLI::App& verb, LuksOptions& options) {
    verb.add_option("--luks-key-file", options.key_files,
                    "Look into the source's LUKS containers with this key, to copy only what they use")
        ->option_text("FILE")
        ->allow_extra_args(false);
}

SourcePlaintext::SourcePlaintext(const LuksOptions& options) {
    std::vector<Secret> keys;
    for (const std::string& path : options.key_files) {
        keys.push_back(layout::read_key_file(path));
        if (layout::is_key_file_loose(path))
            notes_.push_back(fmt::format("{}: others may read this key (chmod 600 ends that)", path));
    }
    if (!keys.empty()) keys_.emplace(std::move(keys), open_);
}

layout::PlaintextFinder& SourcePlaintext::finder() {
    if (keys_) return *keys_;
    return open_;
}

}  // namespace dupengine::cli

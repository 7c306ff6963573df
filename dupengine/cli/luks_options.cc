#include "cli/luks_options.h"

namespace dupengine::cli {

void add_luks_options(CLI::App& verb, LuksOptions& options, const std::string& new_key_help) {
    verb.add_option("--luks-key-file", options.key_files,
                    "Look into the source's LUKS containers with this key, to copy only what they use")
        ->option_text("FILE")
        ->allow_extra_args(false);
    verb.add_option("--luks-new-key-file", options.new_key_file, new_key_help)->option_text("FILE");
}

SourcePlaintext::SourcePlaintext(const LuksOptions& options) {
    std::vector<Secret> keys;
    for (const std::string& path : options.key_files)
        keys.push_back(read_key(path));
    if (!keys.empty()) keys_.emplace(std::move(keys), open_);
    if (!options.new_key_file.empty()) new_key_.emplace(read_key(options.new_key_file));
}

Secret SourcePlaintext::read_key(const std::string& path) {
    if (layout::is_key_file_loose(path))
        notes_.push_back(fmt::format("{}: others may read this key (chmod 600 ends that)", path));
    return layout::read_key_file(path);
}

layout::PlaintextFinder& SourcePlaintext::finder_of_sources() {
    if (keys_) return *keys_;
    return open_;
}

layout::PlaintextFinder& SourcePlaintext::finder() {
    if (new_key_) return rekeyed_;
    return finder_of_sources();
}

engine::Rekeyed SourcePlaintext::rekey(const block::Reader& source, const block::Reader* copy) {
    if (!new_key_) return {};
    return engine::rekey_source(source, {finder_of_sources(), *new_key_, random_, copy, rekeyed_});
}

void SourcePlaintext::refuse_useless_key() const {
    if (new_key_ && rekeyed_.count() == 0)
        throw_error(Code::kRefused, "--luks-new-key-file: there is no LUKS container on what is copied");
}

}  // namespace dupengine::cli

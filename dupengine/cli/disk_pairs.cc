#include "cli/disk_pairs.h"

#include <algorithm>
#include <variant>

#include "block/open.h"
#include "image/reference.h"
#include "image/tar_names.h"
#include "wire/peer_reference.h"

namespace dupengine::cli {

engine::PathPair parse_map(const std::string& text) {
    engine::PathPair pair;
    bool is_split = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        std::string& name = is_split ? pair.target : pair.source;
        if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '=')
            name += text[++i];
        else if (text[i] == '=' && !is_split)
            is_split = true;
        else
            name += text[i];
    }
    if (pair.source.empty() || pair.target.empty())
        throw_error(Code::kUsage, "--map {}: is not SOURCE=TARGET (a '=' in a name is written \\=)", text);
    return pair;
}

std::vector<engine::PathPair> find_pairs(const std::string& source, const std::string& target,
                                         const std::vector<std::string>& maps) {
    if (maps.empty()) {
        if (target.empty()) throw_error(Code::kUsage, "SOURCE and TARGET are needed, or --map SOURCE=TARGET");
        return {{source, target}};
    }
    if (!source.empty())
        throw_error(Code::kUsage, "{}: with --map, all disks are named by --map SOURCE=TARGET", source);
    std::vector<engine::PathPair> pairs;
    for (const std::string& map : maps)
        pairs.push_back(parse_map(map));
    for (const engine::PathPair& pair : pairs) {
        const auto reference = image::parse_reference(pair.source);
        if (pairs.size() > 1 && reference && reference->place == image::kPipe)
            throw_error(Code::kUsage, "{}: what comes through a pipe is copied onto one disk", pair.source);
    }
    return pairs;
}

std::vector<std::size_t> number_sources(const std::vector<engine::PathPair>& pairs) {
    std::vector<std::variant<block::PathIdentity, std::string>> known;
    std::vector<std::size_t> numbers;
    for (const engine::PathPair& pair : pairs) {
        if (image::parse_reference(pair.source) || wire::parse_peer_reference(pair.source))
            known.emplace_back(pair.source);
        else
            known.emplace_back(block::identify(pair.source));
        const auto first = std::find(known.begin(), known.end(), known.back());
        numbers.push_back(static_cast<std::size_t>(first - known.begin()));
    }
    return numbers;
}

std::string name_targets(const std::vector<engine::PathPair>& pairs) {
    std::string names;
    for (const engine::PathPair& pair : pairs)
        names += (names.empty() ? "" : ", ") + pair.target;
    return names;
}

}  // namespace dupengine::cli

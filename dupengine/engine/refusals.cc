#include "engine/refusals.h"

#include "base/error.h"

namespace dupengine::engine {
namespace {

std::string list_uses(const std::vector<layout::Use>& uses) {
    constexpr std::size_t kNamed = 3;
    std::string text;
    for (std::size_t i = 0; i < uses.size() && i < kNamed; ++i)
        text += fmt::format("{}{} {}", i == 0 ? "" : "; ", uses[i].device, uses[i].detail);
    if (uses.size() > kNamed) text += fmt::format("; and {} more", uses.size() - kNamed);
    return text;
}

bool changes_content(const layout::Use& use) {
    return use.kind == layout::Use::Kind::kMounted || use.kind == layout::Use::Kind::kSwap;
}

}  // namespace

std::vector<std::string> refuse_if_in_use(const std::string& source, const std::string& target,
                                          BusySource busy, const layout::SystemRoots& roots) {
    if (!source.empty() && layout::same_storage(source, target, roots))
        throw_error(Code::kRefused, "{} and {} are the same storage", source, target);
    const auto target_uses = layout::find_uses(target, roots);
    if (!target_uses.empty())
        throw_error(Code::kRefused, "{}: is in use: {}", target, list_uses(target_uses));
    return refuse_if_changing(source, busy, roots);
}

std::vector<std::string> refuse_if_changing(const std::string& source, BusySource busy,
                                            const layout::SystemRoots& roots) {
    const std::string changing = name_changing_uses(source, roots);
    if (changing.empty()) return {};
    if (busy == BusySource::kRefuse)
        throw_error(Code::kRefused,
                    "{}: is in use, and a copy of what changes meanwhile is worth nothing: {} (--busy-source "
                    "copies it "
                    "all the same)",
                    source, changing);
    return {fmt::format("source in use while it is copied: {}", changing)};
}

std::vector<std::vector<std::string>> refuse_if_in_use(std::span<const PathPair> pairs, BusySource busy,
                                                       const layout::SystemRoots& roots) {
    for (std::size_t i = 0; i < pairs.size(); ++i)
        for (std::size_t j = 0; j < pairs.size(); ++j) {
            if (i < j && layout::same_storage(pairs[i].target, pairs[j].target, roots))
                throw_error(Code::kRefused,
                            "{} and {} are the same storage; only one source can be copied there",
                            pairs[i].target, pairs[j].target);
            if (i != j && !pairs[j].source.empty() &&
                layout::same_storage(pairs[i].target, pairs[j].source, roots))
                throw_error(Code::kRefused,
                            "{} and {} are the same storage, a target and a source of one set",
                            pairs[i].target, pairs[j].source);
        }
    std::vector<std::vector<std::string>> notes;
    for (const PathPair& pair : pairs)
        notes.push_back(refuse_if_in_use(pair.source, pair.target, busy, roots));
    return notes;
}

std::string name_changing_uses(const std::string& source, const layout::SystemRoots& roots) {
    if (source.empty()) return "";
    std::vector<layout::Use> changing;
    for (const layout::Use& use : layout::find_uses(source, roots))
        if (changes_content(use)) changing.push_back(use);
    return list_uses(changing);
}

}  // namespace dupengine::engine

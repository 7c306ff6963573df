#include "cli/image_target.h"

#include <algorithm>

#include "block/open.h"
#include "layout/incomplete_mark.h"
#include "profiles/image_notes.h"
#include "profiles/stores/partition.h"

namespace dupengine::cli {

void refuse_other_class(const image::Manifest& manifest, const block::Reader& target) {
    if (manifest.target_class.empty()) return;
    const auto place = profiles::find_profile_place(target);
    if (!place)
        throw_error(Code::kRefused,
                    "{}@{} is for machines with the role {}, and {} has no profile that says whether it is "
                    "one (--insecure copies it all the same)",
                    manifest.name, manifest.version, manifest.target_class, target.name());
    const auto stored = profiles::newest_or_throw(profiles::read_slots(target, place->extent), target.name());
    const profiles::Profile node = profiles::load_node(stored, target.name()).profile;
    if (std::find(node.roles.begin(), node.roles.end(), manifest.target_class) == node.roles.end())
        throw_error(Code::kRefused,
                    "{}@{} is for machines with the role {}, and {} of {} does not have it (--insecure "
                    "copies it all the same)",
                    manifest.name, manifest.version, manifest.target_class, node.node, target.name());
}

std::string refuse_older_version(const image::Manifest& manifest, const block::Reader& target) {
    const auto place = profiles::find_profile_place(target);
    if (!place) return "";
    const auto history = profiles::read_history(target, place->extent);
    if (!history)
        return "the profile partition is too small to remember which version of an image was put here last: "
               "an older one will not be noticed";
    const profiles::ImageHistory::Entry* had = history->find(manifest.name);
    if (had != nullptr && had->version > manifest.version && !had->is_way_back(manifest.version))
        throw_error(
            Code::kRefused,
            "{}@{} is older than version {}, which {} had last (--allow-older copies it all the same)",
            manifest.name, manifest.version, had->version, target.name());
    if (!history->doubt.empty())
        throw_error(Code::kRefused,
                    "{}: which version of an image it had last cannot be told for certain: {} (--allow-older "
                    "copies {}@{} all the same, and makes it certain again)",
                    target.name(), history->doubt, manifest.name, manifest.version);
    return "";
}

std::optional<std::uint64_t> way_back_from(const image::Manifest& manifest, const std::string& disk) {
    const auto history = profiles::history_on(disk);
    if (!history || !history->doubt.empty()) return std::nullopt;
    const profiles::ImageHistory::Entry* had = history->find(manifest.name);
    if (had == nullptr || !had->is_bad(manifest.version)) return std::nullopt;
    if (had->came_up == 0)
        throw_error(Code::kPeer,
                    "{}@{} did not come up on {}, nor is there a version that did, or a newer one",
                    manifest.name, manifest.version, disk);
    return had->came_up;
}

bool has_version(const image::Manifest& manifest, const block::Reader& target) {
    const auto place = profiles::find_profile_place(target);
    // An unfinished copy has no table: its profile was found through the mark.
    if (!place || layout::find_mark(target)) return false;
    const auto history = profiles::read_history(target, place->extent);
    if (!history || !history->doubt.empty() || history->entries.empty()) return false;
    const profiles::ImageHistory::Entry& last = history->entries.front();
    return last.name == manifest.name && last.version == manifest.version;
}

void remember_version(const image::Manifest& manifest, const std::string& disk, std::int64_t now) {
    const auto reader = block::open_source(disk);
    const auto place = profiles::find_profile_place(*reader);
    if (!place) return;
    auto history = profiles::read_history(*reader, place->extent);
    if (!history) return;
    history->remember(manifest.name, manifest.version, now);
    profiles::write_profile_partition(disk, [&](block::Target& target, block::Extent region) {
        profiles::write_history(target, region, *history);
    });
}

}  // namespace dupengine::cli

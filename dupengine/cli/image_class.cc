#include "cli/image_class.h"

#include <algorithm>

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

}  // namespace dupengine::cli

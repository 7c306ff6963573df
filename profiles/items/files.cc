// [[file]]: files that the profile or a role brings along.

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {

void stage_files(ItemContext& context) {
    Staged& staged = context.staged;
    for (const File& file : context.profile.files) {
        const Node there = staged.take(resolve(staged, file.path));
        const std::string before = there.exists() ? fmt::format("{} bytes", there.size_bytes) : "(none)";
        staged.change("file", file.path, Node::file(file.content, file.mode), before,
                      fmt::format("{} bytes, mode {:04o}", file.content.size(), file.mode));
    }
}

}  // namespace dupengine::profiles

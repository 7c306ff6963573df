// Who the machine is to other machines of dupengine: with the source's key and certificate it could send,
// receive and enrol in the source's name.

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kFolder = "/etc/dupengine/peers";

void remove_all_in(Staged& staged, const std::string& folder) {
    for (const std::string& name : staged.list(folder)) {
        const std::string path = join(folder, name);
        if (staged.look(path).kind == NodeKind::kFolder)
            remove_all_in(staged, path);
        else
            staged.change("enrolment", path, {}, "the source's", "(none)");
    }
}

}  // namespace

void stage_enrolment(ItemContext& context) {
    const Mode mode = context.profile.enrolment.mode;
    if (mode == Mode::kIgnore) return;
    if (mode != Mode::kRemove) refuse_mode("enrolment", mode);
    // Once for each copy: what is there later is the node's own.
    if (!context.remembered.emplace("enrolment", "removed").second) return;
    if (context.staged.look(resolve(context.staged, kFolder)).kind == NodeKind::kFolder)
        remove_all_in(context.staged, kFolder);
}

}  // namespace dupengine::profiles

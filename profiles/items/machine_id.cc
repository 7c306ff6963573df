// machine-id(5). Boot entries and folders of the boot partition that are named by it are references and
// follow it (references.cc); the journal's folder keeps its name, because its content is the source's.

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kPath = "/etc/machine-id";
constexpr const char* kBusPath = "/var/lib/dbus/machine-id";
constexpr std::size_t kDigits = 32;

std::string without_dashes(std::string text) {
    std::erase(text, '-');
    return text;
}

bool is_machine_id(const std::string& text) {
    return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos &&
           text.find_first_not_of('0') != std::string::npos;
}

std::string present_id(const Tree& tree) {
    std::string text = read_text(tree, kPath);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

std::string wanted(ItemContext& context) {
    const Item& item = context.profile.machine_id;
    switch (item.mode) {
        case Mode::kSet:
            if (!is_machine_id(item.value))
                throw_error(Code::kRefused,
                            "the profile's machine_id '{}' is not 32 lower-case hexadecimal digits",
                            item.value);
            return item.value;
        case Mode::kDerive:
            return without_dashes(derive_guid(context.secret, "machine_id").text());
        case Mode::kRegenerate: {
            std::string& value = context.remembered["machine_id"];
            if (!is_machine_id(value)) value = without_dashes(context.random.guid().text());
            return value;
        }
        default:
            return {};
    }
}

}  // namespace

std::string wanted_machine_id(ItemContext& context) {
    const std::string before = present_id(context.staged), after = wanted(context);
    return is_machine_id(before) && !after.empty() && before != after ? after : std::string();
}

void stage_machine_id(ItemContext& context) {
    if (context.profile.machine_id.mode == Mode::kIgnore) return;
    Staged& staged = context.staged;
    const std::string before = present_id(staged), after = wanted(context);
    // Empty, not absent: absent would make it a first boot, which sets all units back to their presets
    // (machine-id(5)).
    const std::string text = after.empty() ? "" : after + "\n";
    const Node there = staged.take(resolve(staged, kPath));
    const Node node = there.kind == NodeKind::kFile ? there.with_content(text) : Node::file(text, 0444);
    staged.change("machine_id", kPath, node, before, after.empty() ? "(made at the first start)" : after);
    const Node bus = staged.take(kBusPath);
    if (bus.kind == NodeKind::kFile)
        staged.change("machine_id", kBusPath, bus.with_content(text), before,
                      after.empty() ? "(empty)" : after);
}

}  // namespace dupengine::profiles

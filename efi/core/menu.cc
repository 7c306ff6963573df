#include "efi/core/menu.h"

namespace dupengine::efi {
namespace {

constexpr TextView kOnce = "DupengineOnce";

std::optional<Action> action_of(Choice choice) {
    switch (choice) {
        case Choice::kDisk:
            return Action::kDisk;
        case Choice::kKernel:
            return Action::kKernel;
        case Choice::kReceive:
            return Action::kReceive;
        case Choice::kMenu:
            return std::nullopt;
    }
    return std::nullopt;
}

std::optional<Choice> take_once(Firmware& firmware) {
    std::array<std::byte, 32> value;
    const auto size = firmware.read_variable(kOnce, value);
    if (!size) return std::nullopt;
    if (!firmware.delete_variable(kOnce)) {
        firmware.print("DupengineOnce cannot be deleted, so it is not followed.\n");
        return std::nullopt;
    }
    TextView word = as_text(Bytes(value).first(*size < value.size() ? *size : value.size()));
    // A shell's echo leaves one.
    if (!word.empty() && word[word.size() - 1] == '\n') word = word.first(word.size() - 1);
    const auto choice = choice_of(word);
    if (choice)
        firmware.print(
            Text<80>().add("For this start, DupengineOnce says: ").add(choice_word(*choice)).add(".\n"));
    else
        firmware.print("DupengineOnce says nothing that is known here.\n");
    return choice;
}

}  // namespace

Menu make_menu(Firmware& firmware, const Survey& survey) {
    FilePlace place;
    Bytes content;
    return {MenuItem{Action::kDisk, 'b', "boot from the disk", find_loader(firmware, survey, place, content)},
            MenuItem{Action::kKernel, 'k', "start the kernel of the profile",
                     no_kernel(firmware, survey, KernelUse::kAsIs)},
            MenuItem{Action::kReceive, 'r', "receive another machine onto this one",
                     no_kernel(firmware, survey, KernelUse::kReceive)},
            MenuItem{Action::kShell, 's', "open a shell in the initramfs",
                     no_kernel(firmware, survey, KernelUse::kShell)},
            MenuItem{Action::kDuplicate, 'd', "duplicate a disk onto another", no_duplicate(survey)},
            MenuItem{Action::kSetup, 'f', "the firmware's setup",
                     firmware.has_setup() ? TextView() : TextView("this firmware offers no way to it")},
            MenuItem{Action::kRestart, 'x', "restart the machine", {}}};
}

void allow_restart_only(Menu& menu) {
    for (MenuItem& item : menu)
        if (item.action != Action::kSetup && item.action != Action::kRestart)
            item.why_not = "a disk was written; restart the machine first";
}

const MenuItem* item_of_key(const Menu& menu, char key) {
    for (const MenuItem& item : menu)
        if (item.key == key) return &item;
    return nullptr;
}

const MenuItem& item_of_action(const Menu& menu, Action action) {
    std::size_t at = 0;
    while (menu[at].action != action)
        ++at;
    return menu[at];
}

void print_menu(Firmware& firmware, const Menu& menu) {
    firmware.print("\n");
    for (const MenuItem& item : menu)
        if (item.why_not.empty())
            firmware.print(Text<200>().add("  ").add(item.key).add("  ").add(item.text).add('\n'));
    for (const MenuItem& item : menu)
        if (!item.why_not.empty())
            firmware.print(
                Text<300>().add("  -  ").add(item.text).add(": not here, ").add(item.why_not).add('\n'));
}

Default choose_default(Firmware& firmware, const Survey& survey, const Menu& menu) {
    const auto once = take_once(firmware);
    const NodeProfile* profile = survey.profile();
    Default found;
    if (profile != nullptr) {
        found.action = action_of(profile->boot.choice);
        found.timeout_seconds = profile->boot.timeout_seconds;
    }
    if (once) found.action = action_of(*once);
    if (!found.action) return found;
    const MenuItem& item = item_of_action(menu, *found.action);
    if (item.why_not.empty()) return found;
    firmware.print(
        Text<300>().add("It should ").add(item.text).add(", and cannot: ").add(item.why_not).add(".\n"));
    return {};
}

}  // namespace dupengine::efi

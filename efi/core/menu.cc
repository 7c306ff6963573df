#include "efi/core/menu.h"

namespace dupengine::efi {

Menu make_menu(Firmware& firmware, const Survey& survey) {
    FilePlace place;
    Bytes content;
    const auto [as_is, receive, restore, shell] = kernel_faults(firmware, survey);
    return {MenuItem{Action::kDisk, 'b', "boot from the disk", find_loader(firmware, survey, place, content)},
            MenuItem{Action::kKernel, 'k', "start the kernel of the profile", as_is},
            MenuItem{Action::kReceive, 'r', "receive another machine onto this one", receive},
            MenuItem{Action::kRestore, 'i', "restore this machine from its image", restore},
            MenuItem{Action::kShell, 's', "open a shell in the initramfs", shell},
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

}  // namespace dupengine::efi

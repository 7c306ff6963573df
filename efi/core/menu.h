#pragma once
// The menu: what can be done on this machine, by which key, and why the rest cannot. Deciding only;
// application.cc does it.

#include "efi/core/duplicate_dialog.h"
#include "efi/core/kernel.h"

namespace dupengine::efi {

enum class Action { kDisk, kKernel, kReceive, kRestore, kShell, kDuplicate, kSetup, kRestart };

struct MenuItem {
    Action action = Action::kDisk;
    char key = ' ';
    TextView text;
    TextView why_not;  ///< empty: it can be done
};

inline constexpr std::size_t kMenuItems = 8;
using Menu = std::array<MenuItem, kMenuItems>;

/// Looks for the files that each item needs.
Menu make_menu(Firmware& firmware, const Survey& survey);
/// After a disk was written, what firmware knew of it is old: nothing is started before the machine is.
void allow_restart_only(Menu& menu);
const MenuItem* item_of_key(const Menu& menu, char key);
const MenuItem& item_of_action(const Menu& menu, Action action);
/// What can be done with its key, then what cannot with the reason.
void print_menu(Firmware& firmware, const Menu& menu);

}  // namespace dupengine::efi

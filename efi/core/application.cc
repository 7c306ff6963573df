#include "efi/core/application.h"

#include <utility>

#include "efi/core/measure.h"

namespace dupengine::efi {
namespace {

constexpr std::uint32_t kSecond = 1000;
constexpr std::uint32_t kForever = 0xffffffff;

using Line = Text<300>;

// A person who wonders what is checked here reads it first of all.
void print_trust(Firmware& firmware) {
    const Trust& trust = firmware.trust();
    Line line;
    line.add(trust.secure_boot ? "Secure Boot is on. " : "Secure Boot is off. ");
    if (trust.wants_signatures())
        line.number(trust.keys.size())
            .add(trust.keys.size() == 1 ? " key is here" : " keys are here")
            .add(": profile, kernel and initrd have to be signed.\n");
    else
        line.add("No key is here: nobody checks profile and initrd.\n");
    firmware.print(line);
}

TextView boot_from_disk(Firmware& firmware, const Survey& survey) {
    FilePlace place;
    Bytes content;
    if (const TextView reason = find_loader(firmware, survey, place, content); !reason.empty()) return reason;
    firmware.print(Line().add("Starts ").add(place.path).add(" of disk ").number(place.disk + 1).add(".\n"));
    return firmware.start_program(place, content);
}

/// What lasts as long as the program.
struct Session {
    Firmware& firmware;
    Buffer scratch;
    const Survey& survey;
    Menu menu;
};

TextView duplicate(Session& session) {
    const DuplicateResult result = duplicate_by_keys(session.firmware, session.survey, session.scratch);
    if (result.has_begun) allow_restart_only(session.menu);
    return result.reason.empty() ? "the copy is complete" : result.reason;
}

// Returns why it came back.
TextView perform(Session& session, Action action) {
    switch (action) {
        case Action::kDisk:
            return boot_from_disk(session.firmware, session.survey);
        case Action::kKernel:
            return start_kernel(session.firmware, session.survey, KernelUse::kAsIs);
        case Action::kReceive:
            return start_kernel(session.firmware, session.survey, KernelUse::kReceive);
        case Action::kRestore:
            return start_kernel(session.firmware, session.survey, KernelUse::kRestore);
        case Action::kShell:
            return start_kernel(session.firmware, session.survey, KernelUse::kShell);
        case Action::kDuplicate:
            return duplicate(session);
        case Action::kSetup:
            return session.firmware.restart_to_setup();
        case Action::kRestart:
            session.firmware.restart();
            return "the firmware did not restart it";
    }
    return {};
}

// The key that was pressed meanwhile, or 0: the time-out has passed.
char count_down(Firmware& firmware, const MenuItem& item, std::uint32_t seconds) {
    for (; seconds > 0; --seconds) {
        firmware.print(
            Line().add("\rIn ").number(seconds).add(" s: ").add(item.text).add("; any key stops that.  "));
        if (const char key = firmware.wait_key(kSecond); key != 0) return (firmware.print("\n"), key);
    }
    firmware.print("\n");
    return 0;
}

std::optional<Action> chosen_by(Firmware& firmware, const Menu& menu, char key) {
    const MenuItem* item = item_of_key(menu, key);
    if (item == nullptr) return std::nullopt;
    if (item->why_not.empty()) return item->action;
    firmware.print(Line().add(item->text).add(": not here, ").add(item->why_not).add('\n'));
    return std::nullopt;
}

// By itself, or by the key that stopped that.
std::optional<Action> first_action(Session& session, Unattended& unattended) {
    if (unattended.action) {
        const MenuItem& item = item_of_action(session.menu, *unattended.action);
        const char key = count_down(session.firmware, item, unattended.timeout_seconds);
        if (key == 0 && count_try(session.firmware, unattended)) return unattended.action;
        unattended.action = key == 0 ? unattended.fallback : chosen_by(session.firmware, session.menu, key);
    }
    // What fails from here on was not done by itself.
    unattended.fallback.reset();
    return unattended.action;
}

}  // namespace

void run_application(Firmware& firmware, Buffer scratch, Survey& survey) {
    print_trust(firmware);
    survey_machine(firmware, scratch, survey);
    print_survey(firmware, survey);
    measure_profile(firmware, survey);
    Session session{firmware, scratch, survey, make_menu(firmware, survey)};
    Unattended unattended = choose_unattended(firmware, survey, session.menu);
    print_menu(firmware, session.menu);
    std::optional<Action> action = first_action(session, unattended);
    for (;;) {
        if (action) {
            measure_choice(firmware, *action);
            const TextView reason = perform(session, *action);
            if (*action == Action::kRestart) return;
            firmware.print(Line().add("Back in dupengine: ").add(reason).add(".\n"));
            action.reset();
            // Once, and not after a person chose.
            std::swap(action, unattended.fallback);
            if (action) continue;
            print_menu(firmware, session.menu);
        }
        firmware.print("Which? ");
        const char key = firmware.wait_key(kForever);
        firmware.print(Line().add(key).add('\n'));
        action = chosen_by(firmware, session.menu, key);
    }
}

}  // namespace dupengine::efi

#include "efi/core/unattended.h"

namespace dupengine::efi {
namespace {

constexpr TextView kOnce = "DupengineOnce", kTries = "DupengineTries";
constexpr std::uint32_t kMostTries = 99;

using Value = std::array<std::byte, 32>;

std::optional<Action> action_of(Choice choice) {
    switch (choice) {
        case Choice::kDisk:
            return Action::kDisk;
        case Choice::kKernel:
            return Action::kKernel;
        case Choice::kReceive:
            return Action::kReceive;
        case Choice::kRestore:
            return Action::kRestore;
        case Choice::kMenu:
            return std::nullopt;
    }
    return std::nullopt;
}

// The word in a variable, without the newline that a shell's echo leaves.
std::optional<TextView> read_word(Firmware& firmware, TextView name, Value& value) {
    const auto size = firmware.read_variable(name, value);
    if (!size) return std::nullopt;
    const TextView word = as_text(Bytes(value).first(*size < value.size() ? *size : value.size()));
    return !word.empty() && word[word.size() - 1] == '\n' ? word.first(word.size() - 1) : word;
}

std::optional<Choice> take_once(Firmware& firmware) {
    Value value;
    const auto word = read_word(firmware, kOnce, value);
    if (!word) return std::nullopt;
    if (!firmware.delete_variable(kOnce)) {
        firmware.print("DupengineOnce cannot be deleted, so it is not followed.\n");
        return std::nullopt;
    }
    const auto choice = choice_of(*word);
    if (choice)
        firmware.print(Text<80>().add("For this start, DupengineOnce says: ").add(*word).add(".\n"));
    else
        firmware.print("DupengineOnce says nothing that is known here.\n");
    return choice;
}

// What is no number counts as used up: somebody wanted starts to be counted.
std::optional<std::uint32_t> read_tries(Firmware& firmware) {
    Value value;
    const auto word = read_word(firmware, kTries, value);
    if (!word) return std::nullopt;
    std::uint32_t tries = 0;
    for (char c : *word) {
        if (c < '0' || c > '9' || tries > kMostTries) return 0;
        tries = tries * 10 + static_cast<std::uint32_t>(c - '0');
    }
    return tries <= kMostTries ? tries : 0;
}

// Nothing, after it was said, if it cannot be done on this machine.
std::optional<Action> if_possible(Firmware& firmware, const Menu& menu, std::optional<Action> action) {
    if (!action) return std::nullopt;
    const MenuItem& item = item_of_action(menu, *action);
    if (item.why_not.empty()) return action;
    firmware.print(
        Text<300>().add("It should ").add(item.text).add(", and cannot: ").add(item.why_not).add(".\n"));
    return std::nullopt;
}

}  // namespace

Unattended choose_unattended(Firmware& firmware, const Survey& survey, const Menu& menu) {
    Unattended found;
    const auto once = take_once(firmware);
    if (const NodeProfile* profile = survey.profile()) {
        found.timeout_seconds = profile->boot.timeout_seconds;
        found.action = action_of(profile->boot.choice);
        found.fallback = action_of(profile->boot.fallback);
        if (found.action) found.tries = read_tries(firmware);
    }
    if (once) {
        found.action = action_of(*once);
        found.fallback.reset();
        found.tries.reset();
    }
    const bool is_used_up = found.tries == 0u;
    if (is_used_up) firmware.print("All tries to start are used up (DupengineTries).\n");
    const bool is_wanted = found.action.has_value();
    found.action = is_used_up ? std::nullopt : if_possible(firmware, menu, found.action);
    if (is_wanted && !found.action) {
        found.action = if_possible(firmware, menu, found.fallback);
        found.fallback.reset();
        found.tries.reset();
    }
    return found;
}

bool count_try(Firmware& firmware, const Unattended& unattended) {
    if (!unattended.tries) return true;
    Text<4> left;
    left.number(*unattended.tries - 1);
    if (!firmware.write_variable(kTries, std::as_bytes(std::span(left.view().data(), left.view().size())))) {
        firmware.print("DupengineTries cannot be written, so this start is not done by itself.\n");
        return false;
    }
    firmware.print(Text<80>().add("Tries that are left after this start: ").add(left).add(".\n"));
    return true;
}

}  // namespace dupengine::efi

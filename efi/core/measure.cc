#include "efi/core/measure.h"

namespace dupengine::efi {
namespace {

using Line = Text<300>;

TextView word_of(Action action) {
    switch (action) {
        case Action::kDisk:
            return "disk";
        case Action::kKernel:
            return "kernel";
        case Action::kReceive:
            return "receive";
        case Action::kRestore:
            return "restore";
        case Action::kShell:
            return "shell";
        case Action::kDuplicate:
            return "duplicate";
        case Action::kSetup:
            return "setup";
        case Action::kRestart:
            return "restart";
    }
    return {};
}

void add_digest(Line& line, const Sha256& digest) {
    constexpr TextView kDigits = "0123456789abcdef";
    for (const std::byte b : digest)
        line.add(kDigits[std::to_integer<unsigned>(b) >> 4]).add(kDigits[std::to_integer<unsigned>(b) & 15]);
}

void measure(Firmware& firmware, const Line& line) {
    if (const TextView reason = firmware.measure(line); !reason.empty())
        firmware.print(Line().add("The TPM has not measured this start: ").add(reason).add(".\n"));
}

}  // namespace

void measure_profile(Firmware& firmware, const Survey& survey) {
    Line line("dupengine profile ");
    if (survey.machine == nullptr) return measure(firmware, line.add("none"));
    line.add(survey.machine->profile.node).add(' ').number(survey.machine->generation).add(' ');
    add_digest(line, survey.machine->digest);
    measure(firmware, line);
}

void measure_choice(Firmware& firmware, Action action) {
    measure(firmware, Line("dupengine choice ").add(word_of(action)));
}

}  // namespace dupengine::efi

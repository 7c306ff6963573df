#include "bootloader_hooks/dupengine_efi.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace dupengine::boot {
namespace {

constexpr const char* kVersion = "DupengineVersion";
constexpr const char* kOnce = "DupengineOnce";
constexpr const char* kTries = "DupengineTries";
constexpr std::array<std::string_view, 4> kChoices = {"disk", "kernel", "receive", "menu"};

std::optional<std::string> word(const machine::EfiVariables& variables, const char* name) {
    auto value = variables.read(name);
    if (value && value->ends_with('\n')) value->pop_back();
    return value;
}

}  // namespace

EfiState look_at_efi(const machine::EfiVariables& variables) {
    return {word(variables, kVersion), word(variables, kOnce), word(variables, kTries)};
}

void set_tries(machine::EfiVariables& variables, unsigned tries) {
    if (tries == 0 || tries > kMostTries)
        throw_error(Code::kUsage, "a system gets 1 to {} tries, not {}", kMostTries, tries);
    variables.write(kTries, std::to_string(tries));
}

std::optional<std::string> confirm(machine::EfiVariables& variables) {
    const auto tries = word(variables, kTries);
    if (tries) variables.remove(kTries);
    return tries;
}

void choose_once(machine::EfiVariables& variables, const std::string& choice) {
    if (std::ranges::find(kChoices, choice) == kChoices.end())
        throw_error(Code::kUsage, "'{}' is none of disk, kernel, receive, menu", choice);
    variables.write(kOnce, choice);
}

void forget_once(machine::EfiVariables& variables) {
    variables.remove(kOnce);
}

}  // namespace dupengine::boot

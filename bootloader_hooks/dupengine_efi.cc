#include "bootloader_hooks/dupengine_efi.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace dupengine::boot {
namespace {

constexpr const char* kVersion = "DupengineVersion";
constexpr const char* kOnce = "DupengineOnce";
constexpr const char* kTries = "DupengineTries";
constexpr std::array<std::string_view, 5> kChoices = {"disk", "kernel", "receive", "restore", "menu"};

std::optional<std::string> word(const machine::EfiVariables& variables, const char* name) {
    auto value = variables.read(name);
    if (value && value->ends_with('\n')) value->pop_back();
    return value;
}

class DupengineEfi final : public Loader {
  public:
    explicit DupengineEfi(const Places& places) : variables_(places.efivars) {}

    std::string_view name() const override { return kDupengineEfiName; }
    std::string_view usual() const override { return "what the profile says"; }
    LoaderState look() const override {
        const EfiState state = look_at_efi(variables_);
        return {state.started_by, state.once, std::nullopt, state.tries, false};
    }
    void install(const SmallSystem&) override { throw_profile_says(); }
    void remove() override { throw_profile_says(); }
    void choose_once(const std::optional<std::string>& choice) override {
        choice ? boot::choose_once(variables_, *choice) : forget_once(variables_);
    }
    void choose_default(const std::optional<std::string>&) override { throw_profile_says(); }
    void set_tries(unsigned tries) override { boot::set_tries(variables_, tries); }
    std::optional<std::string> confirm() override { return boot::confirm(variables_); }

  private:
    [[noreturn]] static void throw_profile_says() {
        throw_error(
            Code::kUnsupported,
            "what dupengine.efi starts is in the profile, table [boot]; --loader names another loader "
            "({}, {})",
            kSystemdBootName, kGrubName);
    }
    machine::EfiVariables variables_;
};

}  // namespace

EfiState look_at_efi(const machine::EfiVariables& variables) {
    return {word(variables, kVersion), word(variables, kOnce), word(variables, kTries)};
}

void check_tries(unsigned tries, unsigned most) {
    if (tries == 0 || tries > most)
        throw_error(Code::kUsage, "a system gets 1 to {} tries, not {}", most, tries);
}

void set_tries(machine::EfiVariables& variables, unsigned tries) {
    check_tries(tries, kMostTries);
    variables.write(kTries, std::to_string(tries));
}

std::optional<std::string> confirm(machine::EfiVariables& variables) {
    const auto tries = word(variables, kTries);
    if (tries) variables.remove(kTries);
    return tries;
}

void choose_once(machine::EfiVariables& variables, const std::string& choice) {
    if (std::ranges::find(kChoices, choice) == kChoices.end())
        throw_error(Code::kUsage, "'{}' is none of disk, kernel, receive, restore, menu", choice);
    variables.write(kOnce, choice);
}

void forget_once(machine::EfiVariables& variables) {
    variables.remove(kOnce);
}

std::unique_ptr<Loader> make_dupengine_efi(const Places& places) {
    return std::make_unique<DupengineEfi>(places);
}

}  // namespace dupengine::boot

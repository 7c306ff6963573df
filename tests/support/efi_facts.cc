#include "tests/support/efi_facts.h"

#include "base/guid.h"

namespace dupengine::test {
namespace {

std::string string_of(efi::TextView text) {
    return {text.data(), text.size()};
}

// As much of it as firmware shows.
std::string joined(const std::vector<std::string>& roles) {
    std::string all;
    for (const std::string& role : roles)
        all += (all.empty() ? "" : ", ") + role;
    return all.substr(0, 128);
}

}  // namespace

EfiFacts facts_of(const efi::NodeProfile& profile) {
    const efi::BootSettings& boot = profile.boot;
    EfiFacts facts = {string_of(profile.node),
                      string_of(profile.roles),
                      string_of(efi::choice_word(boot.choice)),
                      "",
                      string_of(boot.loader),
                      string_of(boot.kernel),
                      string_of(boot.initrd),
                      string_of(boot.command_line),
                      string_of(boot.receive_disk),
                      string_of(boot.restore_from),
                      string_of(efi::choice_word(boot.fallback)),
                      boot.timeout_seconds,
                      boot.tries};
    if (boot.partition)
        facts.partition = Guid::from_disk(std::as_bytes(std::span(boot.partition->bytes))).text();
    return facts;
}

EfiFacts facts_of(const profiles::Profile& profile) {
    const profiles::Boot& boot = profile.boot;
    return {profile.node,
            joined(profile.roles),
            boot.choice.empty() ? "disk" : boot.choice,
            boot.partition.empty() ? "" : Guid::parse(boot.partition).text(),
            boot.loader,
            boot.kernel,
            boot.initrd,
            boot.command_line,
            boot.receive_disk,
            boot.restore_from,
            boot.fallback.empty() ? "menu" : boot.fallback,
            boot.timeout_seconds.value_or(5),
            boot.tries.value_or(0)};
}

}  // namespace dupengine::test

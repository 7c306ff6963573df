// Stands in for a machine's own loader: says that it runs, asks for the menu at the next start and for one
// try at the starts that follow unless somebody did, and gives up.

#include "efi/firmware/protocols.h"

using namespace dupengine::efi;

extern "C" EFIAPI Status efi_main(Handle, SystemTable* system) {
    system->output->output(system->output, u"the other loader runs\r\n");
    constexpr std::uint32_t kKeptAndVisible = 7;
    const char wanted[] = {'m', 'e', 'n', 'u', '\n'};
    system->runtime->set_variable(u"DupengineOnce", &kOwnVariables, kKeptAndVisible, sizeof wanted, wanted);
    const char once = '1';
    std::uint64_t bytes = 0;
    if (system->runtime->get_variable(u"DupengineTries", &kOwnVariables, nullptr, &bytes, nullptr) ==
        kNotFound)
        system->runtime->set_variable(u"DupengineTries", &kOwnVariables, kKeptAndVisible, sizeof once, &once);
    return kAborted;
}

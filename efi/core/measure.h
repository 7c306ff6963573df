#pragma once
// What a verifier can learn about this start from the machine's TPM, if it has one: which profile counted,
// and what was done. Each is a line of text, of which the TPM gets the digest and the event log the text, so
// that the log explains itself (dupengine-efi(8)). A TPM that does not take one stops nothing; it is said.

#include "efi/core/menu.h"

namespace dupengine::efi {

/// "dupengine profile web-1 3 SHA-256", of the profile's text; "dupengine profile none".
void measure_profile(Firmware& firmware, const Survey& survey);

/// "dupengine choice kernel": before it is done, each time.
void measure_choice(Firmware& firmware, Action action);

}  // namespace dupengine::efi

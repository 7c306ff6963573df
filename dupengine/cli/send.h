#pragma once
// `copy SOURCE dup://HOST`: offers SOURCE to a machine that waits for it (receive), and answers its questions
// until it is done. What is decided is decided there.

#include "cli/copy_arguments.h"
#include "wire/peer_reference.h"

namespace dupengine::cli {

int run_send(const CopyArguments& arguments, const wire::PeerReference& to, const Globals& globals);

}  // namespace dupengine::cli

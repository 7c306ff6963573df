#pragma once
// `copy SOURCE dup://HOST`: offers SOURCE to a machine that waits for it (receive), and answers its questions
// until it is done. What is decided is decided there.

#include <nlohmann/json.hpp>

#include "cli/copy_arguments.h"
#include "cli/text.h"
#include "wire/offer.h"
#include "wire/peer_reference.h"

namespace dupengine::cli {

struct Sent {
    wire::AnsweredAll answered;
    double seconds = 0;
};

/// Offers to a machine that receives, which `call` connects to, until it is done; shows how far it is. Throws
/// as wire::answer_until_done.
Sent send_offer(const wire::Offer& offer, const wire::Calling& call, std::stop_token stop,
                const Globals& globals, unsigned streams = 1);
nlohmann::ordered_json sent_json(const std::string& source, const Sent& sent);
std::string sent_text(const std::string& source, const Sent& sent, Charset charset);

int run_send(const CopyArguments& arguments, const wire::PeerReference& to, const Globals& globals);

}  // namespace dupengine::cli

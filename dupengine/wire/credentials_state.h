#pragma once
// What Credentials holds, for those in wire/ that give it to OpenSSL. Nothing in it changes after it was
// made.

#include "wire/peer_files.h"

namespace dupengine::wire {

struct Credentials::State {
    PeerFiles files;
    Enrolment enrolment;
    PeerIdentity identity;
};

}  // namespace dupengine::wire

#pragma once
// The journal's state as text and back. Only text that carries the node's own HMAC is given to decode_record.

#include "profiles/assume_journal.h"

namespace dupengine::profiles {

std::string encode_record(const AssumeRecord& record);
/// Throws kIntegrity for anything that encode_record does not write.
AssumeRecord decode_record(const std::string& text);
/// The phase and node that a journal of somebody else claims; nothing if it makes no sense.
struct ForeignClaim {
    bool unfinished = false;
    std::string node;
};
ForeignClaim read_foreign_claim(const std::string& text);

}  // namespace dupengine::profiles

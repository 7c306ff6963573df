#include "base/error.h"

#include <cstring>

namespace dupengine {

const char* code_name(Code code) {
    switch (code) {
        case Code::kInternal:
            return "internal";
        case Code::kUsage:
            return "usage";
        case Code::kRefused:
            return "refused";
        case Code::kSourceIo:
            return "source-io";
        case Code::kTargetIo:
            return "target-io";
        case Code::kIntegrity:
            return "integrity";
        case Code::kAuthenticity:
            return "authenticity";
        case Code::kPeer:
            return "peer";
        case Code::kUnsupported:
            return "unsupported";
        case Code::kInterrupted:
            return "interrupted";
    }
    return "internal";
}

Error::Error(Code code, std::string message, int system_errno)
    : code_(code), errno_(system_errno), message_(std::move(message)) {
    if (system_errno == 0) return;
    char text[128];
    message_ += ": ";
    message_ += strerror_r(system_errno, text, sizeof text);  // the GNU form returns the text
}

void Error::add_context(const std::string& context) {
    message_.insert(0, context + ": ");
}

void throw_errno_text(Code code, int system_errno, std::string message) {
    throw Error(code, std::move(message), system_errno);
}

}  // namespace dupengine

#include "wire/openssl.h"

namespace dupengine::wire {

std::string openssl_reason() {
    const unsigned long error = ERR_get_error();
    const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
    ERR_clear_error();
    return reason == nullptr ? "no reason given" : reason;
}

}  // namespace dupengine::wire

#include "wire/transport.h"

#include "base/error.h"

namespace dupengine::wire {

void receive_exact(Transport& transport, std::span<std::byte> buffer, Deadline deadline) {
    while (!buffer.empty()) {
        const std::size_t bytes = transport.receive(buffer, deadline);
        if (bytes == 0)
            throw_error(Code::kPeer, "{}: the other side ended the connection in the middle of a message",
                        transport.name());
        buffer = buffer.subspan(bytes);
    }
}

}  // namespace dupengine::wire

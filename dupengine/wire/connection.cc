#include "wire/connection.h"

#include <algorithm>
#include <array>

namespace dupengine::wire {
namespace {

// New memory for a payload of this size costs more than to fill it: it is set to zero, page by page.
constexpr std::size_t kLongPayload = 64 * kKiB;
constexpr std::size_t kMostSpare = 16;

}  // namespace

Bytes SparePayloads::take(std::size_t bytes) {
    Bytes room;
    if (bytes >= kLongPayload) {
        const std::lock_guard lock(mutex_);
        if (!spare_.empty()) {
            room = std::move(spare_.back());
            spare_.pop_back();
        }
    }
    room.resize(bytes);
    return room;
}

void SparePayloads::give_back(Bytes payload) {
    const std::lock_guard lock(mutex_);
    if (payload.size() >= kLongPayload && spare_.size() < kMostSpare) spare_.push_back(std::move(payload));
}

Connection::Connection(Peer peer, const Patience& patience, std::shared_ptr<SparePayloads> spare)
    : peer_(std::move(peer)),
      patience_(patience),
      last_sent_(std::chrono::steady_clock::now()),
      spare_(std::move(spare)),
      heart_([this](const std::stop_token& stop) { keep_alive(stop); }) {}

Connection::~Connection() {
    close();
    heart_ = {};  // before what it uses
}

void Connection::close() noexcept {
    peer_.transport->close();
}

void Connection::keep_alive(const std::stop_token& stop) {
    std::unique_lock lock(beat_mutex_);
    while (!beat_.wait_for(lock, stop, patience_.beat, [&] { return stop.stop_requested(); })) {
        try {
            {
                const std::unique_lock idle(sending_, std::try_to_lock);
                // Whoever sends at this moment is heard.
                if (!idle || std::chrono::steady_clock::now() - last_sent_ < patience_.beat) continue;
            }
            send({});
        } catch (const Error&) {
            return;  // whoever receives hears of it, too
        }
    }
}

Hello Connection::greet(Role role, const std::string& version) {
    send({Type::kHello, 0, encode(Hello{role, version})});
    const Message first = receive(after(patience_.message));
    if (first.type == Type::kAbort) throw_abort(first);
    if (first.type != Type::kHello) throw_not_honest("something else than a greeting");
    Hello hello = decode_hello(first.payload);
    if (hello.role == role)
        throw_error(Code::kPeer, "{}: {}", name(),
                    role == Role::kAsks ? "waits for a source, too; one side has to offer one"
                                        : "offers a source, too; one side has to take it");
    return hello;
}

void Connection::throw_abort(const Message& abort) {
    const Failure failure = decode_failure(abort.payload);
    has_given_up_ = true;
    throw Error(failure.code, fmt::format("{}: {}", name(), failure.text));
}

void Connection::send(const Message& message) {
    send_encoded(encode(message));
}

void Connection::send_by(const Message& message, Deadline deadline) {
    const std::unique_lock lock(sending_, deadline);
    if (!lock) throw_error(Code::kPeer, "{}: takes no more", name());
    send_locked(encode(message), deadline);
}

void Connection::send_encoded(std::span<const std::byte> message) {
    const std::lock_guard lock(sending_);
    send_locked(message, after(patience_.message));
}

void Connection::send_locked(std::span<const std::byte> message, Deadline deadline) {
    try {
        peer_.transport->send(message, deadline);
    } catch (const Error&) {
        is_lost_ = true;
        peer_.transport->close();
        throw;
    }
    last_sent_ = std::chrono::steady_clock::now();
    sent_ += message.size();
}

std::size_t Connection::fill(std::span<std::byte> buffer, Deadline deadline, Fill how) {
    try {
        if (how == Fill::kAll) {
            receive_exact(*peer_.transport, buffer, deadline);
            return buffer.size();
        }
        const std::size_t bytes = peer_.transport->receive(buffer, deadline);
        if (bytes == 0) throw_error(Code::kPeer, "{}: ended the connection", name());
        return bytes;
    } catch (const Error&) {
        is_lost_ = true;
        throw;
    }
}

Message Connection::receive(Deadline deadline) {
    for (;;) {
        if (std::chrono::steady_clock::now() >= deadline) {
            is_lost_ = true;
            throw_error(Code::kPeer, "{}: lives, but says nothing", name());
        }
        std::array<std::byte, kHeaderBytes> bytes{};
        const std::size_t first = fill(bytes, std::min(after(patience_.silence), deadline), Fill::kOnce);
        const Deadline end = after(patience_.message);
        fill(std::span(bytes).subspan(first), end, Fill::kAll);
        const Header header = decode_header(bytes);
        Message message{header.type, header.id, spare_->take(header.payload_bytes)};
        fill(message.payload, end, Fill::kAll);
        received_ += kHeaderBytes + message.payload.size();
        if (message.type != Type::kAlive || message.id != 0) return message;
        if (!message.payload.empty()) throw_not_honest("a sign of life that says something");
    }
}

}  // namespace dupengine::wire

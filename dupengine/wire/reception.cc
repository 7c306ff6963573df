#include "wire/reception.h"

#include <array>
#include <optional>
#include <thread>

#include "base/error.h"
#include "wire/message.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;

// Strangers that are told of one by one in a minute.
constexpr unsigned kNamedStrangers = 20;
// For who is turned away to have heard it.
constexpr auto kLastWord = 3s;

// For the first byte of a handshake, which follows the connection at once.
constexpr auto kFirstWord = 3s;

// A connection on which TLS has begun: whoever says nothing, or something else, costs no cryptography.
class Begun final : public Transport {
  public:
    explicit Begun(std::unique_ptr<Transport> other) : other_(std::move(other)) {
        constexpr std::byte kHandshake{0x16};  // RFC 8446, 5.1
        std::byte first{};
        if (other_->receive({&first, 1}, after(kFirstWord)) == 0)
            throw_error(Code::kPeer, "it went away without a word");
        if (first != kHandshake) throw_error(Code::kPeer, "it does not speak TLS");
        first_ = first;
    }
    void send(std::span<const std::byte> bytes, Deadline deadline) override { other_->send(bytes, deadline); }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        if (!first_) return other_->receive(buffer, deadline);
        buffer.front() = *first_;
        first_.reset();
        return 1;
    }
    void close() noexcept override { other_->close(); }
    const std::string& name() const override { return other_->name(); }

  private:
    std::unique_ptr<Transport> other_;
    std::optional<std::byte> first_;
};

// Its own goodbye, or the end of the connection.
void wait_for_goodbye(Channel& channel, Deadline deadline) {
    while (std::chrono::steady_clock::now() < deadline) {
        std::array<std::byte, kHeaderBytes> bytes{};
        receive_exact(channel, bytes, deadline);
        const Header header = decode_header(bytes);
        Bytes payload(header.payload_bytes);
        if (!payload.empty()) receive_exact(channel, payload, deadline);
        if (header.type == Type::kAbort) return;
    }
}

}  // namespace

void turn_away(std::unique_ptr<Channel> channel, const Error& why) noexcept {
    try {
        const Deadline deadline = after(kLastWord);
        channel->send(encode(Message{Type::kAbort, 0, encode(Failure{why.code(), why.what()})}), deadline);
        wait_for_goodbye(*channel, deadline);
    } catch (const std::exception&) {
        // It is gone, or not worth waiting for.
    }
    channel->close();
}

Reception::Reception(ReceptionOptions options) : options_(std::move(options)), guests_(options_.limits) {}

void Reception::log(const std::string& line) {
    const std::lock_guard lock(log_mutex_);
    if (options_.log) options_.log(line);
}

void Reception::log_stranger(const std::string& line) {
    unsigned number = 0;
    {
        const std::lock_guard lock(log_mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (now - minute_ > 1min) {
            minute_ = now;
            strangers_ = 0;
        }
        number = ++strangers_;
    }
    if (number <= kNamedStrangers) log(line);
    if (number == kNamedStrangers) log("who else is not taken in this minute is not told of");
}

void Reception::receive(std::unique_ptr<Transport> transport, Guests::Guest& guest) {
    std::string from = transport->name();
    std::unique_ptr<Channel> channel;
    try {
        transport = std::make_unique<Begun>(std::move(transport));
        const Credentials credentials(options_.peers_folder);
        channel = accept_channel(std::move(transport), credentials, options_.channel);
        guest.prove(to_hex(channel->peer().key_sha256));
    } catch (const std::exception& e) {
        return log_stranger(fmt::format("{}: not taken: {}", from, e.what()));
    }
    from = fmt::format("{} ({})", channel->peer().name, from);
    try {
        options_.take(std::move(channel));
    } catch (const std::exception& e) {
        log(fmt::format("{}: {}", from, e.what()));
    }
}

void Reception::run(Listener& listener, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        try {
            auto transport = listener.accept(after(1h), stop);
            if (transport == nullptr) continue;
            guests_.add(std::move(transport), [this](std::unique_ptr<Transport> one, Guests::Guest& guest) {
                receive(std::move(one), guest);
            });
        } catch (const std::exception& e) {
            // Of descriptors, memory or threads there may be more in a moment.
            log_stranger(fmt::format("a connection was not taken: {}", e.what()));
            std::this_thread::sleep_for(200ms);
        }
    }
    guests_.end(options_.farewell);
}

}  // namespace dupengine::wire

#include "wire/link.h"

#include <algorithm>

namespace dupengine::wire {

using namespace std::chrono_literals;

class Link::Question {
  public:
    Message message;  // until it is answered
    std::optional<Message> answer;
    std::exception_ptr error;
    bool is_over() const { return answer || error; }
};

Link::Link(Peer peer, RandomSource& random, LinkOptions options) : options_(std::move(options)) {
    open_.source = options_.source;
    random.fill(open_.transfer);
    peer_key_ = peer.key;
    connection_ = open(std::move(peer));
    name_ = connection_->name();
    receiver_ = std::jthread([this](const std::stop_token& over) { receive_all(over); });
}

Link::~Link() {
    receiver_.request_stop();
    {
        const std::lock_guard lock(mutex_);
        if (connection_) connection_->close();
    }
    changed_.notify_all();
    receiver_ = {};
}

// The first connection and every later one.
std::shared_ptr<Connection> Link::open(Peer peer) {
    if (peer.key != peer_key_)
        throw_error(Code::kAuthenticity, "{}: is another machine than the one that this copy began with",
                    peer.name);
    const auto connection = std::make_shared<Connection>(std::move(peer), options_.patience);
    connection->greet(Role::kAsks, options_.version);
    connection->send({Type::kOpen, 0, encode(open_)});
    const Message message = connection->receive();
    if (message.type == Type::kAbort) {
        const Failure failure = decode_failure(message.payload);
        throw Error(failure.code, fmt::format("{}: {}", connection->name(), failure.text));
    }
    if (message.type != Type::kOpened) throw_not_honest("something else than a disk");
    Opened opened = decode_opened(message.payload);
    if (open_.resume == Token{}) {
        opened_ = std::move(opened);
        open_.resume = opened_.resume;
        return connection;
    }
    const block::Geometry &now = opened.geometry, &before = opened_.geometry;
    if (opened.resume != opened_.resume || now.size_bytes != before.size_bytes ||
        now.logical_sector_bytes != before.logical_sector_bytes || opened.state != opened_.state)
        throw_error(Code::kIntegrity, "{}: is not what it was before the connection broke", opened_.name);
    return connection;
}

Link::Asked Link::ask(Type type, Bytes payload) {
    auto asked = std::make_shared<Question>();
    std::shared_ptr<Connection> connection;
    {
        const std::lock_guard lock(mutex_);
        if (broken_) {
            asked->error = broken_;
            return asked;
        }
        asked->message = {type, next_id_++, std::move(payload)};
        under_way_[asked->message.id] = asked;
        connection = connection_;
    }
    if (connection) {
        try {
            connection->send(asked->message);
        } catch (const Error&) {
            // Asked again over the next connection.
        }
    }
    return asked;
}

// With the mutex held, when it is over.
Message& Link::answer_of(Question& asked, Type expected) {
    if (asked.error) std::rethrow_exception(asked.error);
    Message& answer = *asked.answer;
    if (answer.type == Type::kFailed) {
        const Failure failure = decode_failure(answer.payload);
        throw Error(failure.code, failure.text);
    }
    if (answer.type != expected) throw_not_honest("an answer to another question");
    return answer;
}

Bytes Link::wait(const Asked& asked, Type expected) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked->is_over(); });
    return std::move(answer_of(*asked, expected).payload);
}

Bytes Link::wait_shared(const Asked& asked, Type expected) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return asked->is_over(); });
    return answer_of(*asked, expected).payload;
}

void Link::prepare(OnTold on_told) {
    {
        const std::lock_guard lock(mutex_);
        on_told_ = std::move(on_told);
    }
    wait(ask(Type::kPrepare, {}), Type::kPrefill);
    const std::lock_guard lock(mutex_);
    on_told_ = {};
}

void Link::take_answers(Connection& connection) {
    for (;;) {
        Message message = connection.receive();
        if (message.type == Type::kAbort) {
            const Failure failure = decode_failure(message.payload);
            throw Error(failure.code, fmt::format("{}: {}", name_, failure.text));
        }
        std::unique_lock lock(mutex_);
        const auto found = under_way_.find(message.id);
        if (found == under_way_.end()) throw_not_honest("an answer that nobody asked for");
        const bool is_told = message.type == Type::kKnown || message.type == Type::kPrefill;
        if (is_told && !message.payload.empty()) {
            if (found->second->message.type != Type::kPrepare)
                throw_not_honest("an answer to another question");
            if (on_told_) on_told_(message);
            continue;
        }
        const Asked asked = found->second;
        under_way_.erase(found);
        asked->message.payload = {};
        asked->answer = std::move(message);
        lock.unlock();
        changed_.notify_all();
    }
}

void Link::receive_all(const std::stop_token& over) {
    while (!over.stop_requested()) {
        std::shared_ptr<Connection> connection;
        {
            const std::lock_guard lock(mutex_);
            connection = connection_;
        }
        try {
            take_answers(*connection);
        } catch (const Error& e) {
            if (over.stop_requested()) return;
            const bool is_lost = connection->is_lost();
            if (!is_lost) {
                try {
                    connection->send({Type::kAbort, 0, encode(Failure{e.code(), e.what()})});
                } catch (const Error&) {
                    // It is gone.
                }
            }
            connection->close();
            if (!is_lost) return give_up(std::current_exception());
            if (!replace_connection(over, e.what())) return;
        } catch (const std::exception&) {  // no memory
            connection->close();
            return give_up(std::current_exception());
        }
    }
}

Peer Link::next_peer(Deadline deadline, const std::stop_token& over) {
    std::stop_source any;
    const std::stop_callback ended(over, [&] { any.request_stop(); });
    const std::stop_callback stopped(stop_, [&] { any.request_stop(); });
    return options_.connect_again(deadline, any.get_token());
}

// False if there is none.
bool Link::replace_connection(const std::stop_token& over, const std::string& why) {
    {
        const std::lock_guard lock(mutex_);
        sent_before_ += connection_->bytes_sent();
        received_before_ += connection_->bytes_received();
        connection_ = nullptr;
    }
    const Deadline deadline = after(options_.patience.outage);
    std::string reason = why;
    std::exception_ptr final;  // no other connection would be better
    for (auto pause = 50ms; options_.connect_again;
         pause = std::min<std::chrono::milliseconds>(2 * pause, 5s)) {
        try {
            const std::shared_ptr<Connection> connection = open(next_peer(deadline, over));
            std::vector<Asked> again;
            {
                const std::lock_guard lock(mutex_);
                connection_ = connection;
                ++reconnected_;
                for (const auto& [id, asked] : under_way_)
                    again.push_back(asked);
            }
            for (const Asked& asked : again)
                connection->send(asked->message);
            return true;
        } catch (const Error& e) {
            const std::lock_guard lock(mutex_);
            if (connection_) return true;  // it broke at once; whoever receives sees that
            reason = e.what();
            if (e.code() != Code::kPeer) final = std::current_exception();
        }
        if (final) break;
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, over, pause, [&] { return stop_.stop_requested(); });
        if (over.stop_requested() || stop_.stop_requested() || std::chrono::steady_clock::now() > deadline)
            break;
    }
    if (over.stop_requested()) return false;
    if (stop_.stop_requested())
        final = std::make_exception_ptr(
            Error(Code::kInterrupted, "stopped on request while the connection was broken"));
    if (!final)
        final = std::make_exception_ptr(Error(
            Code::kPeer,
            fmt::format("the connection was lost: {}; run both ends again, what came so far stays", reason)));
    give_up(final);
    return false;
}

void Link::give_up(std::exception_ptr error) {
    {
        const std::lock_guard lock(mutex_);
        broken_ = error;
        for (const auto& [id, asked] : under_way_)
            asked->error = error;
        under_way_.clear();
    }
    changed_.notify_all();
}

void Link::tell(Type type, Bytes payload) noexcept {
    std::shared_ptr<Connection> connection;
    {
        const std::lock_guard lock(mutex_);
        connection = connection_;
    }
    try {
        if (connection) connection->send({type, 0, std::move(payload)});
    } catch (const std::exception&) {
        // Only told, not asked.
    }
}

bool Link::say_last(Type type, Bytes payload) noexcept {
    try {
        const Asked asked = ask(type, std::move(payload));
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, options_.patience.farewell, [&] { return asked->is_over(); }) &&
               asked->answer.has_value();
    } catch (const std::exception&) {
        return false;
    }
}

bool Link::finish(const Result& result) noexcept {
    return say_last(Type::kDone, encode(result));
}

bool Link::abort(const Failure& failure) noexcept {
    return say_last(Type::kAbort, encode(failure));
}

void Link::set_stop(std::stop_token stop) {
    const std::lock_guard lock(mutex_);
    stop_ = std::move(stop);
}

std::uint64_t Link::bytes_sent() const {
    const std::lock_guard lock(mutex_);
    return sent_before_ + (connection_ ? connection_->bytes_sent() : 0);
}

std::uint64_t Link::bytes_received() const {
    const std::lock_guard lock(mutex_);
    return received_before_ + (connection_ ? connection_->bytes_received() : 0);
}

unsigned Link::times_reconnected() const {
    const std::lock_guard lock(mutex_);
    return reconnected_;
}

}  // namespace dupengine::wire

#include "wire/link.h"

#include <algorithm>
#include <utility>

namespace dupengine::wire {

using namespace std::chrono_literals;

namespace {

constexpr auto kMoment = 700ms;  // for what is under way when it is stopped
// More than there is to tell before questions, over one connection: each stretch of a disk that describing it
// reads (recording_reader.cc) is a message or, if it is long, several.
constexpr unsigned kMostTold = 32'768;

}  // namespace

// What can be wrong with a disk at the other end. All else is the other end's own trouble, whatever it calls
// it: a target that failed is ours, and nothing was refused that began.
Code Link::believed(Code code) {
    switch (code) {
        case Code::kSourceIo:
        case Code::kIntegrity:
        case Code::kAuthenticity:
        case Code::kUnsupported:
            return code;
        default:
            return Code::kPeer;
    }
}

Link::Asked Link::ask(Type type, Bytes payload) {
    auto asked = std::make_shared<Question>();
    std::shared_ptr<Connection> connection;  // none: asked over the next
    Bytes encoded;
    {
        const std::lock_guard lock(mutex_);
        if (broken_) {
            asked->error = broken_;
            return asked;
        }
        if (under_way_.empty()) last_answer_ = std::chrono::steady_clock::now();
        asked->message = {type, next_id_++, std::move(payload)};
        encoded = encode(asked->message);
        under_way_[asked->message.id] = asked;
        connection = charge(*asked, choose_stream());
    }
    if (connection) send(*connection, encoded);
    return asked;
}

// With the mutex held, when it is over.
Message& Link::answer_of(Question& asked, Type expected) {
    if (asked.error) std::rethrow_exception(asked.error);
    Message& answer = *asked.answer;
    if (answer.type == Type::kFailed) {
        const Failure failure = decode_failure(answer.payload);
        throw Error(believed(failure.code), failure.text);
    }
    if (answer.type != expected) throw_not_honest("an answer to another question");
    return answer;
}

void Link::wait_until_over(std::unique_lock<std::mutex>& lock, const Asked& asked,
                           std::optional<Deadline> prepared) {
    const auto is_over = [&] { return asked->is_over(); };
    const std::stop_token stop = stop_;
    const auto patience = prepared ? options_.patience.prepare : options_.patience.answer;
    for (;;) {
        const Deadline deadline = prepared ? *prepared : last_answer_ + patience;
        if (changed_.wait_until(lock, stop, deadline, is_over)) return;
        if (stop.stop_requested()) {
            if (changed_.wait_for(lock, kMoment, is_over)) return;
            throw_error(Code::kInterrupted, "stopped on request");
        }
        if (!prepared && std::chrono::steady_clock::now() < last_answer_ + patience) continue;
        lock.unlock();
        give_up(std::make_exception_ptr(
            Error(Code::kPeer, fmt::format("{}: lives, but has not answered for {} s", name_,
                                           std::chrono::ceil<std::chrono::seconds>(patience).count()))));
        close_all();
        lock.lock();
    }
}

Bytes Link::wait(const Asked& asked, Type expected) {
    std::unique_lock lock(mutex_);
    wait_until_over(lock, asked);
    return std::move(answer_of(*asked, expected).payload);
}

Bytes Link::wait_shared(const Asked& asked, Type expected) {
    std::unique_lock lock(mutex_);
    wait_until_over(lock, asked);
    return answer_of(*asked, expected).payload;
}

void Link::give_back(Bytes answer) {
    spare_->give_back(std::move(answer));
}

void Link::prepare(OnTold on_told) {
    struct Telling {
        Link& link;
        ~Telling() {
            const std::lock_guard lock(link.mutex_);
            link.on_told_ = {};
        }
    };
    const Telling telling{*this};
    {
        const std::lock_guard lock(mutex_);
        on_told_ = std::move(on_told);
    }
    const Asked asked = ask(Type::kPrepare, {});
    std::unique_lock lock(mutex_);
    wait_until_over(lock, asked, after(options_.patience.prepare));
    answer_of(*asked, Type::kPrefill);
}

void Link::take_answers(Stream& stream) {
    for (unsigned told = 0;;) {
        Message message = stream.connection->receive();
        if (message.type == Type::kAbort) {
            const Failure failure = decode_failure(message.payload);
            throw Error(believed(failure.code), fmt::format("{}: {}", name_, failure.text));
        }
        std::unique_lock lock(mutex_);
        const auto found = under_way_.find(message.id);
        if (found == under_way_.end()) throw_not_honest("an answer that nobody asked for");
        last_answer_ = std::chrono::steady_clock::now();
        fruitless_ = brief_ = 0;
        const bool is_told = message.type == Type::kKnown || message.type == Type::kPrefill;
        if (is_told && !message.payload.empty()) {
            if (found->second->message.type != Type::kPrepare)
                throw_not_honest("an answer to another question");
            if (++told > kMostTold) throw_not_honest("more than there is to tell of a disk");
            if (on_told_) on_told_(message);
            continue;
        }
        const Asked asked = found->second;
        under_way_.erase(found);
        charge(*asked, nullptr);
        asked->message.payload = {};
        asked->answer = std::move(message);
        lock.unlock();
        changed_.notify_all();
    }
}

void Link::give_up(std::exception_ptr error) {
    {
        const std::lock_guard lock(mutex_);
        if (broken_) return;
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
        if (const Stream* stream = choose_stream()) connection = stream->connection;
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
    std::uint64_t bytes = sent_before_;
    for (const Stream& stream : streams_)
        if (!stream.is_lost) bytes += stream.connection->bytes_sent();
    return bytes;
}

std::uint64_t Link::bytes_received() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t bytes = received_before_;
    for (const Stream& stream : streams_)
        if (!stream.is_lost) bytes += stream.connection->bytes_received();
    return bytes;
}

unsigned Link::times_reconnected() const {
    const std::lock_guard lock(mutex_);
    return reconnected_;
}

}  // namespace dupengine::wire

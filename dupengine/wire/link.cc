#include "wire/link.h"

#include <algorithm>
#include <utility>

namespace dupengine::wire {

using namespace std::chrono_literals;

class Link::Question {
  public:
    Message message;  // until it is answered
    std::optional<Message> answer;
    std::exception_ptr error;
    bool is_over() const { return answer || error; }
};

namespace {

constexpr auto kMoment = 700ms;  // for what is under way when it is stopped
constexpr auto kBrief = 1s;      // a connection that breaks so soon is not replaced at once again and again
// More than there is to tell before questions, over one connection: each stretch of a disk that describing it
// reads (recording_reader.cc) is a message or, if it is long, several.
constexpr unsigned kMostTold = 32'768;

// What can be wrong with a disk at the other end. All else is the other end's own trouble, whatever it calls
// it: a target that failed is ours, and nothing was refused that began.
Code believed(Code code) {
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

}  // namespace

Link::Link(Peer peer, RandomSource& random, LinkOptions options)
    : options_(std::move(options)),
      stop_(options_.stop),
      last_answer_(std::chrono::steady_clock::now()),
      connected_at_(last_answer_) {
    open_.source = options_.source;
    random.fill(open_.transfer);
    peer_key_ = peer.key;
    connection_ = open(std::move(peer), stop_);
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
std::shared_ptr<Connection> Link::open(Peer peer, const std::stop_token& stop) {
    if (peer.key != peer_key_)
        throw_error(Code::kAuthenticity, "{}: is another machine than the one that this copy began with",
                    peer.name);
    const auto connection = std::make_shared<Connection>(std::move(peer), options_.patience);
    const std::stop_callback stopped(stop, [&] { connection->close(); });
    try {
        connection->greet(Role::kAsks, options_.version);
        connection->send({Type::kOpen, 0, encode(open_)});
        const Message message = connection->receive(after(options_.patience.message));
        if (message.type == Type::kAbort) connection->throw_abort(message);
        if (message.type != Type::kOpened) throw_not_honest("something else than a disk");
        take_opened(decode_opened(message.payload));
    } catch (Error& e) {
        if (stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
        if (connection->has_given_up() && e.code() != Code::kRefused) e.set_code(believed(e.code()));
        throw;
    }
    return connection;
}

void Link::take_opened(const Opened& opened) {
    if (!is_open_) {
        opened_ = opened;
        open_.resume = opened.resume;
        is_open_ = true;
        return;
    }
    // A state that is not known, because the file is too young to tell, says nothing.
    const bool is_other_state =
        opened.state != opened_.state && opened.state != Token{} && opened_.state != Token{};
    const block::Geometry &now = opened.geometry, &before = opened_.geometry;
    const bool is_other_row =
        !std::ranges::equal(opened.row, opened_.row, {}, &block::RowPlace::extent, &block::RowPlace::extent);
    if (opened.resume != opened_.resume || now.size_bytes != before.size_bytes ||
        now.logical_sector_bytes != before.logical_sector_bytes || is_other_row || is_other_state)
        throw_error(Code::kIntegrity, "{}: is not what it was before the connection broke", opened_.name);
}

Link::Asked Link::ask(Type type, Bytes payload) {
    auto asked = std::make_shared<Question>();
    std::shared_ptr<Connection> connection;
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
        connection = connection_;
    }
    if (connection) {
        try {
            connection->send_encoded(encoded);
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
        const std::shared_ptr<Connection> connection = connection_;
        lock.unlock();
        give_up(std::make_exception_ptr(
            Error(Code::kPeer, fmt::format("{}: lives, but has not answered for {} s", name_,
                                           std::chrono::ceil<std::chrono::seconds>(patience).count()))));
        if (connection) connection->close();
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
    std::shared_ptr<Connection> connection;
    {
        const std::lock_guard lock(mutex_);
        connection = connection_;
    }
    if (connection) connection->give_back(std::move(answer));
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

void Link::take_answers(Connection& connection) {
    for (unsigned told = 0;;) {
        Message message = connection.receive();
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
        asked->message.payload = {};
        asked->answer = std::move(message);
        lock.unlock();
        changed_.notify_all();
    }
}

void Link::receive_all(const std::stop_token& over) {
    try {
        while (!over.stop_requested() && receive_over_one(over)) {
        }
    } catch (const std::exception&) {  // no memory
        give_up(std::current_exception());
        const std::lock_guard lock(mutex_);
        if (connection_) connection_->close();
    }
}

// True if there is another connection afterwards.
bool Link::receive_over_one(const std::stop_token& over) {
    std::shared_ptr<Connection> connection;
    {
        const std::lock_guard lock(mutex_);
        connection = connection_;
    }
    std::optional<Error> why;
    try {
        take_answers(*connection);
    } catch (const Error& e) {
        why = e;
    }
    if (over.stop_requested()) return false;
    const bool is_lost = connection->is_lost();
    if (!is_lost) {
        try {
            connection->send_by({Type::kAbort, 0, encode(Failure{why->code(), why->what()})},
                                after(options_.patience.farewell));
        } catch (const Error&) {
            // It is gone.
        }
    }
    connection->close();
    if (is_lost) return replace_connection(over, why->what());
    give_up(std::make_exception_ptr(*why));
    return false;
}

// Throws what is wrong with it. What was not answered is asked again.
void Link::try_connection(Deadline deadline, const std::stop_token& stop) {
    const std::shared_ptr<Connection> connection = open(options_.connect_again(deadline, stop), stop);
    std::vector<Asked> again;
    {
        const std::lock_guard lock(mutex_);
        connection_ = connection;
        connected_at_ = std::chrono::steady_clock::now();
        ++reconnected_;
        for (const auto& [id, asked] : under_way_)
            again.push_back(asked);
    }
    try {
        for (const Asked& asked : again)
            connection->send(asked->message);
    } catch (const Error&) {
        // Whoever receives finds it broken.
    }
}

// How often in a row it came to nothing.
unsigned Link::note_break() {
    sent_before_ += connection_->bytes_sent();
    received_before_ += connection_->bytes_received();
    connection_ = nullptr;
    brief_ = std::chrono::steady_clock::now() - connected_at_ < kBrief ? brief_ + 1 : 0;
    if (!under_way_.empty()) ++fruitless_;
    return std::max(brief_, fruitless_);
}

// False if there is none.
bool Link::replace_connection(const std::stop_token& over, const std::string& why) {
    std::stop_source any;
    std::stop_token stop;
    unsigned times = 0;
    bool is_hopeless = false;
    {
        const std::lock_guard lock(mutex_);
        if (broken_) return false;
        times = note_break();
        is_hopeless = fruitless_ > options_.patience.fruitless;
        stop = stop_;
    }
    const auto request = [&] { any.request_stop(); };
    const std::stop_callback ended(over, request), stopped(stop, request);
    if (options_.on_break) options_.on_break(why);
    const Deadline deadline = after(options_.patience.outage);
    std::string reason = why;
    std::exception_ptr final;  // no other connection would be better
    // Who breaks one connection after the other waits for the next.
    auto pause = options_.patience.pause * (1U << std::min(times, 6U));
    bool is_first = times <= 1;
    while (options_.connect_again && !is_hopeless) {
        if (!std::exchange(is_first, false)) {
            std::unique_lock lock(mutex_);
            changed_.wait_for(lock, any.get_token(), pause, [] { return false; });
            pause = std::min<std::chrono::milliseconds>(2 * pause, 5s);
        }
        if (any.stop_requested() || std::chrono::steady_clock::now() > deadline) break;
        try {
            try_connection(deadline, any.get_token());
            return true;
        } catch (const Error& e) {
            reason = e.what();
            // It was not refused before the first write.
            if (e.code() == Code::kRefused) break;
            if (e.code() != Code::kPeer) final = std::current_exception();
        } catch (const std::exception& e) {  // of memory or threads there may be more in a moment
            reason = e.what();
        }
        if (final) break;
    }
    if (over.stop_requested()) return false;
    if (stop.stop_requested())
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

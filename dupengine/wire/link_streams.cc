// The connections of a link.

#include <algorithm>
#include <utility>

#include "wire/link.h"

namespace dupengine::wire {

using namespace std::chrono_literals;

namespace {

constexpr auto kBrief = 1s;  // a connection that breaks so soon is not replaced at once again and again

}  // namespace

unsigned usual_streams(unsigned processors) {
    return std::clamp(processors / 2, 1U, 4U);
}

Link::Link(Peer peer, RandomSource& random, LinkOptions options)
    : options_(std::move(options)),
      stop_(options_.stop),
      last_answer_(std::chrono::steady_clock::now()),
      connected_at_(last_answer_) {
    options_.streams = std::clamp(options_.streams, 1U, kMostStreams);
    open_.source = options_.source;
    random.fill(open_.transfer);
    peer_key_ = peer.key;
    std::shared_ptr<Connection> connection = open(std::move(peer), stop_);
    name_ = connection->name();
    add_stream(std::move(connection));
    keeper_ = std::jthread([this](const std::stop_token& over) { keep_connected(over); });
    if (options_.streams > 1 && options_.connect_again)
        adder_ = std::jthread([this](const std::stop_token& over) { add_further(over); });
}

Link::~Link() {
    keeper_.request_stop();
    adder_.request_stop();
    close_all();
    adder_ = {};
    keeper_ = {};
    close_all();  // what they added meanwhile
    std::list<Stream> gone;
    {
        const std::lock_guard lock(mutex_);
        gone.swap(streams_);
    }
}

// Each connection, from the first on.
std::shared_ptr<Connection> Link::open(Peer peer, const std::stop_token& stop) {
    if (peer.key != peer_key_)
        throw_error(Code::kAuthenticity, "{}: is another machine than the one that this copy began with",
                    peer.name);
    const auto connection = std::make_shared<Connection>(std::move(peer), options_.patience, spare_);
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
    if (opened.resume != opened_.resume || now.size_bytes != before.size_bytes ||
        now.logical_sector_bytes != before.logical_sector_bytes || is_other_state)
        throw_error(Code::kIntegrity, "{}: is not what it was before the connection broke", opened_.name);
}

// What no stream has is asked over it.
void Link::add_stream(std::shared_ptr<Connection> connection) {
    std::vector<Bytes> waiting;
    {
        const std::lock_guard lock(mutex_);
        Stream& stream = streams_.emplace_back();
        stream.connection = connection;
        try {
            stream.receiver = std::jthread([this, &stream] { receive(stream); });
        } catch (...) {
            streams_.pop_back();
            throw;
        }
        connected_at_ = std::chrono::steady_clock::now();
        for (const auto& [id, asked] : under_way_) {
            if (asked->stream != nullptr) continue;
            charge(*asked, &stream);
            waiting.push_back(encode(asked->message));
        }
        connecting_.request_stop();
    }
    changed_.notify_all();
    for (const Bytes& message : waiting)
        send(*connection, message);
}

// With the mutex held, like the next two.
std::size_t Link::living() const {
    return static_cast<std::size_t>(std::ranges::count(streams_, false, &Stream::is_lost));
}

// Of those with as few questions the newest: an older one may be broken, and nobody noticed yet.
Link::Stream* Link::choose_stream() {
    Stream* chosen = nullptr;
    for (Stream& stream : streams_)
        if (!stream.is_lost && (chosen == nullptr || stream.questions <= chosen->questions)) chosen = &stream;
    return chosen;
}

std::shared_ptr<Connection> Link::charge(Question& question, Stream* stream) {
    if (question.stream != nullptr) --question.stream->questions;
    question.stream = stream;
    if (stream == nullptr) return nullptr;
    ++stream->questions;
    return stream->connection;
}

void Link::send(Connection& connection, std::span<const std::byte> message) {
    try {
        connection.send_encoded(message);
    } catch (const Error&) {
        // Whoever receives finds it broken, and it is asked again.
    }
}

// The thread of one connection, until it breaks.
void Link::receive(Stream& stream) {
    std::optional<Error> why;
    try {
        take_answers(stream);
    } catch (const Error& e) {
        why = e;
    } catch (const std::exception&) {  // no memory
        give_up(std::current_exception());
        close_all();
        why = Error(Code::kPeer, "no memory");
    }
    Connection& connection = *stream.connection;
    if (!connection.is_lost()) {
        try {
            connection.send_by({Type::kAbort, 0, encode(Failure{why->code(), why->what()})},
                               after(options_.patience.farewell));
        } catch (const Error&) {
            // It is gone.
        }
        give_up(std::make_exception_ptr(*why));
        close_all();
    }
    connection.close();
    lose(stream, why->what());
}

// What was asked over it and not answered is asked over another one, if there is any.
void Link::lose(Stream& stream, const std::string& why) {
    std::vector<std::pair<std::shared_ptr<Connection>, Bytes>> again;
    {
        const std::lock_guard lock(mutex_);
        stream.is_lost = true;
        sent_before_ += stream.connection->bytes_sent();
        received_before_ += stream.connection->bytes_received();
        lost_why_ = why;
        for (const auto& [id, asked] : under_way_) {
            if (asked->stream != &stream) continue;
            if (auto other = charge(*asked, choose_stream()))
                again.emplace_back(std::move(other), encode(asked->message));
        }
    }
    changed_.notify_all();
    for (const auto& [connection, message] : again)
        send(*connection, message);
}

void Link::close_all() {
    const std::lock_guard lock(mutex_);
    for (const Stream& stream : streams_)
        stream.connection->close();
}

// Replaces the last connection when it is lost, and puts away those that are.
void Link::keep_connected(const std::stop_token& over) {
    for (;;) {
        std::list<Stream> gone;
        {
            std::unique_lock lock(mutex_);
            const auto is_gone = [](const Stream& stream) { return stream.is_lost; };
            changed_.wait(lock, over, [&] { return std::ranges::any_of(streams_, is_gone); });
            if (over.stop_requested()) return;
            for (auto it = streams_.begin(); it != streams_.end();) {
                const auto stream = it++;
                if (stream->is_lost) gone.splice(gone.end(), streams_, stream);
            }
            if (broken_ || !streams_.empty()) continue;
        }
        gone.clear();
        try {
            if (!connect_again(over)) return;
        } catch (const std::exception&) {  // no memory
            give_up(std::current_exception());
        }
    }
}

// How often in a row it came to nothing.
unsigned Link::note_break() {
    brief_ = std::chrono::steady_clock::now() - connected_at_ < kBrief ? brief_ + 1 : 0;
    if (!under_way_.empty()) ++fruitless_;
    return std::max(brief_, fruitless_);
}

std::shared_ptr<Connection> Link::open_next(Deadline deadline, const std::stop_token& stop) {
    return open(options_.connect_again(deadline, stop), stop);
}

// False if there is none any more.
bool Link::connect_again(const std::stop_token& over) {
    std::stop_source any;
    std::stop_token stop;
    std::string reason;
    unsigned times = 0;
    bool is_hopeless = false;
    {
        const std::lock_guard lock(mutex_);
        if (broken_) return false;
        reason = lost_why_;
        times = note_break();
        is_hopeless = fruitless_ > options_.patience.fruitless;
        stop = stop_;
    }
    const auto request = [&] { any.request_stop(); };
    const std::stop_callback ended(over, request), stopped(stop, request);
    if (options_.on_break) options_.on_break(reason);
    const Deadline deadline = after(options_.patience.outage);
    std::exception_ptr final;  // no other connection would be better
    // Who breaks one connection after the other waits for the next.
    auto pause = options_.patience.pause * (1U << std::min(times, 6U));
    bool is_first = times <= 1;
    while (options_.connect_again && !is_hopeless && !final) {
        std::stop_source attempt;
        const std::stop_callback with_all(any.get_token(), [&] { attempt.request_stop(); });
        {
            std::unique_lock lock(mutex_);
            if (living() == 0 && !is_first) {
                connecting_ = attempt;
                changed_.wait_for(lock, attempt.get_token(), pause, [] { return false; });
                pause = std::min<std::chrono::milliseconds>(2 * pause, 5s);
            }
            if (living() != 0) return note_connected();  // add_further()
            connecting_ = attempt;
        }
        is_first = false;
        if (any.stop_requested() || std::chrono::steady_clock::now() > deadline) break;
        try {
            add_stream(open_next(deadline, attempt.get_token()));
            const std::lock_guard lock(mutex_);
            return note_connected();
        } catch (const Error& e) {
            if (!any.stop_requested() && attempt.stop_requested()) continue;
            reason = e.what();
            // It was not refused before the first write.
            if (e.code() == Code::kRefused) break;
            if (e.code() != Code::kPeer) final = std::current_exception();
        } catch (const std::exception& e) {  // of memory or threads there may be more in a moment
            reason = e.what();
        }
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

bool Link::note_connected() {
    ++reconnected_;
    return true;
}

// Those after the first. What goes wrong with one ends nothing: there are others.
void Link::add_further(const std::stop_token& over) {
    constexpr auto kFirstPause = 1s, kLongestPause = 60s;
    for (std::chrono::seconds pause = kFirstPause; !over.stop_requested();) {
        {
            std::unique_lock lock(mutex_);
            const auto is_wanted = [&] { return living() != 0 && living() < options_.streams; };
            changed_.wait(lock, over, [&] { return broken_ || is_wanted(); });
            if (over.stop_requested() || broken_) return;
        }
        try {
            add_stream(open_next(after(1h), over));
            pause = kFirstPause;
            continue;
        } catch (const Error& e) {
            if (e.code() != Code::kPeer) return;
        } catch (const std::exception&) {
            // There may be more memory later.
        }
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, over, pause, [] { return false; });
        pause = std::min(2 * pause, kLongestPause);
    }
}

}  // namespace dupengine::wire

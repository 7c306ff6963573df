#include "wire/answering.h"

#include <algorithm>

namespace dupengine::wire {

Answering::Answering(Peer peer, const Offer& offer, const AnswerOptions& options)
    : offer_(offer),
      options_(options),
      connection_(std::move(peer), options.patience),
      words_(options.words ? options.words : std::make_shared<LastWords>(options.patience)) {}

// On request the other end is told, and has Patience::farewell to go.
void Answering::end_when_stopped(const std::stop_token& over) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::stop_source either;
    const auto request = [&] { either.request_stop(); };
    const std::stop_callback stopped(options_.stop, request), ended(over, request),
        elsewhere(options_.over, request);
    std::unique_lock lock(mutex);
    wake.wait(lock, either.get_token(), [] { return false; });
    if (over.stop_requested()) return;
    if (options_.over.stop_requested()) return connection_.close();
    say_goodbye(Error(Code::kInterrupted, "stopped on request at the source's end"));
    wake.wait_for(lock, over, options_.patience.farewell, [] { return false; });
    connection_.close();
}

Answered Answering::run() {
    const std::jthread ender([this](const std::stop_token& over) { end_when_stopped(over); });
    try {
        connection_.greet(Role::kAnswers, options_.version);
        open();
        serve();
    } catch (Error& e) {
        const bool ended_elsewhere = options_.over.stop_requested();
        if (options_.stop.stop_requested() && !ended_elsewhere)
            throw_error(Code::kInterrupted,
                        "stopped on request; the target is unfinished, run both ends again");
        if (failure_ && !ended_elsewhere) std::rethrow_exception(failure_);
        if (!connection_.is_lost() && !ended_elsewhere) {
            say_goodbye(e);
            stay_until_gone();
            if (!can_come_again(e)) throw;
            answered_.was_turned_away = true;
        }
        answered_.lost = e.what();
    }
    answered_.bytes_sent = connection_.bytes_sent();
    answered_.bytes_received = connection_.bytes_received();
    return answered_;
}

// Whether another connection might do although this one was not lost. Before the disk was open, an error is
// no word on a target; and where a copy had begun already, nobody knows any more that nothing was written.
bool Answering::can_come_again(Error& why) const {
    if (answered_.was_open) return false;
    const bool is_their_word = connection_.has_given_up();
    if (is_their_word && why.code() != Code::kRefused && why.code() != Code::kInterrupted)
        why.set_code(Code::kPeer);
    if (!options_.only_transfer) return false;
    if (why.code() == Code::kRefused)
        throw_error(Code::kPeer, "{}; run both ends again, what came so far stays", why.what());
    return is_their_word && why.code() == Code::kPeer;
}

void Answering::open() {
    const Message message = connection_.receive(after(options_.patience.message));
    if (message.type == Type::kAbort) connection_.throw_abort(message);
    if (message.type != Type::kOpen) throw_not_honest("a question before a disk was opened");
    const Open open = decode_open(message.payload);
    if (options_.only_transfer && open.transfer != *options_.only_transfer)
        throw_error(Code::kRefused, "a copy was begun here, and this is another one");
    const Offer::Admitted admitted = offer_.admit(open, connection_.key());
    answered_.transfer = open.transfer;
    disk_ = &admitted.disk;
    if (options_.on_open) options_.on_open(*disk_, open.transfer);
    connection_.send({Type::kOpened, message.id, encode(admitted.opened)});
    answered_.was_open = true;
}

void Answering::serve() {
    std::vector<std::jthread> workers;
    const auto end = [&] {
        {
            const std::lock_guard lock(mutex_);
            is_over_ = true;
        }
        changed_.notify_all();
        workers.clear();
    };
    try {
        for (unsigned i = 0; i < kWorkers; ++i)
            workers.emplace_back([this] { work(*disk_); });
        const std::jthread watcher([this](const std::stop_token& over) { watch_last_words(over); });
        for (auto patience = options_.patience.idle;;) {
            const Message message = connection_.receive(after(patience));
            words_->hear(message, LastWords::Clock::now());
            if (has_answered_ || message.type == Type::kProgress) answered_.got_on = true;
            if (!take(message)) break;
            patience = message.type == Type::kPrepare ? options_.patience.prepare : options_.patience.idle;
        }
    } catch (...) {
        end();
        throw;
    }
    end();
    stay_until_gone();
}

void Answering::tell(const ProgressNote& note) {
    const std::lock_guard lock(telling_);
    if (options_.on_progress) options_.on_progress(note);
}

// Nobody waits in silence for longer than a few seconds without being told for whom.
void Answering::watch_last_words(const std::stop_token& over) {
    const auto look =
        std::min<std::chrono::milliseconds>(std::chrono::seconds(1), options_.patience.word / 8);
    const auto quiet =
        std::min<std::chrono::milliseconds>(std::chrono::seconds(5), options_.patience.word / 4);
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, over, look, [&] { return over.stop_requested(); })) {
        const auto now = LastWords::Clock::now();
        if (*disk_->is_given) words_->begin(now);
        if (const std::string why = words_->why_over(now); !why.empty()) {
            const Error error(Code::kPeer,
                              fmt::format("{}: {}; run both ends again", connection_.name(), why));
            say_goodbye(error);
            return fail(std::make_exception_ptr(error));
        }
        if (words_->silence(now) > quiet)
            tell({fmt::format("waiting for the target's word, {} s at most",
                              options_.patience.word.count() / 1000),
                  0, 0, 0, 0});
    }
}

// False after the last one.
bool Answering::take(const Message& message) {
    switch (message.type) {
        case Type::kPrepare:
        case Type::kRead:
        case Type::kDigest:
        case Type::kMap:
        case Type::kCheck:
        case Type::kRound:
        case Type::kMemory:
            if (message.payload.size() > kMostQuestion) throw_not_honest("a question that is too long");
            wait_for(message);
            return true;
        case Type::kProgress:
            tell(decode_progress(message.payload));
            return true;
        case Type::kDone:
            answered_.result = decode_result(message.payload);
            acknowledge(message);
            return false;
        case Type::kAbort: {
            const Failure failure = decode_failure(message.payload);
            const Error error(failure.code, fmt::format("{}: {}", connection_.name(), failure.text));
            {
                const std::lock_guard lock(mutex_);
                if (!failure_) failure_ = std::make_exception_ptr(error);
            }
            acknowledge(message);
            say_goodbye(error);  // to whoever waits there for answers that do not come any more
            stay_until_gone();
            throw error;
        }
        default:
            throw_not_honest("a message that only the source's end sends");
    }
}

// Who said the last word and did not wait for us was heard all the same: another connection would come to
// nothing.
void Answering::acknowledge(const Message& last) noexcept {
    try {
        connection_.send({Type::kAlive, last.id, {}});
    } catch (const std::exception&) {
        // It is gone already.
    }
}

void Answering::wait_for(Message question) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_.size() < kMostWaiting || is_over_; });
    waiting_.push_back(std::move(question));
    lock.unlock();
    changed_.notify_all();
}

void Answering::work(const OfferedDisk& disk) {
    Answers answers(disk, answered_.transfer, connection_, gauge_);
    for (;;) {
        Message question;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return is_over_ || !waiting_.empty(); });
            if (is_over_) return;
            question = std::move(waiting_.front());
            waiting_.pop_front();
        }
        changed_.notify_all();
        try {
            answer_one(answers, question);
        } catch (const Error& e) {
            // Who asks what nobody asks and goes away is no lost connection either.
            const bool is_their_fault = !answers.failed_to_send();
            if (is_their_fault) say_goodbye(e);
            return fail(is_their_fault ? std::current_exception() : nullptr);
        } catch (const std::exception& e) {
            const Error error(Code::kInternal, e.what());
            say_goodbye(error);
            return fail(std::make_exception_ptr(error));
        }
    }
}

// The thread that receives finds the connection closed, and ends the others.
void Answering::fail(std::exception_ptr why) noexcept {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
        if (!failure_) failure_ = std::move(why);
    }
    changed_.notify_all();
    connection_.close();
}

// A disk that cannot be read is an answer; a question that nobody asks is the end.
void Answering::answer_one(Answers& answers, const Message& question) {
    try {
        answers.give(question);
    } catch (const Error& e) {
        if (e.code() == Code::kPeer) throw;
        answers.give_failure(question.id, {e.code(), e.what()});
    }
    has_answered_ = true;
}

void Answering::say_goodbye(const Error& why) noexcept {
    try {
        connection_.send_by({Type::kAbort, 0, encode(Failure{why.code(), why.what()})},
                            after(options_.patience.farewell));
    } catch (const std::exception&) {
        // It is gone already.
    }
}

// What was sent last gets lost if the connection is cut while the other end still sends.
void Answering::stay_until_gone() noexcept {
    const Deadline deadline = after(options_.patience.farewell);
    try {
        for (;;)
            connection_.receive(deadline);
    } catch (const std::exception&) {
        // So it should be.
    }
}

}  // namespace dupengine::wire

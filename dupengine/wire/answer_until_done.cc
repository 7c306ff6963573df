#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "wire/link.h"
#include "wire/offer.h"

namespace dupengine::wire {

using namespace std::chrono_literals;

namespace {

// Ends early when it is stopped.
void pause_for(std::chrono::milliseconds time, const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop, time, [] { return false; });
}

// One copy's connections. The first thread to hear how it ended, in a result or an error, ends the others.
class Sending {
  public:
    Sending(const Calling& call, const Offer& offer, AnswerOptions options, unsigned streams)
        : call_(call),
          offer_(offer),
          options_(std::move(options)),
          streams_(std::clamp(streams, 1U, kMostStreams)),
          on_stop_(options_.stop, [this] { stop_.request_stop(); }) {
        options_.over = over_.get_token();
        // How far the target is it tells over one of them.
        options_.words = std::make_shared<LastWords>(options_.patience);
        options_.on_progress = [this, told = options_.on_progress](const ProgressNote& note) {
            const std::lock_guard lock(telling_);
            if (told) told(note);
        };
        options_.on_open = [this, told = options_.on_open](const OfferedDisk& disk, const Token& transfer) {
            const std::lock_guard lock(telling_);
            if (told) told(disk, transfer);
            if (!further_.empty()) return;
            try {
                for (unsigned i = 1; i < streams_; ++i)
                    further_.emplace_back([this, transfer] { answer_further(transfer); });
            } catch (const std::system_error&) {
                // No more threads: done without.
            }
        };
    }

    AnsweredAll run() {
        try {
            answer_first();
        } catch (...) {
            end({}, std::current_exception());
        }
        further_.clear();
        if (error_) std::rethrow_exception(error_);
        all_.result = *result_;
        return all_;
    }

  private:
    // The first end counts.
    void end(std::optional<Result> result, std::exception_ptr error) {
        {
            const std::lock_guard lock(mutex_);
            if (result_ || error_) return;
            result_ = std::move(result);
            error_ = std::move(error);
        }
        over_.request_stop();
        stop_.request_stop();
    }

    bool is_over() const { return over_.stop_requested(); }

    // Whoever else answers at the address is not given the disk.
    Peer call_the_same() {
        Peer peer = call_(stop_.get_token());
        const std::lock_guard lock(mutex_);
        if (!first_) first_ = peer.key;
        if (*first_ != peer.key)
            throw_error(Code::kAuthenticity, "{}: is another machine than the one that this copy began with",
                        peer.name);
        return peer;
    }

    Answered answer_over(Peer peer, const AnswerOptions& options) {
        Answered answered = answer(std::move(peer), offer_, options);
        {
            const std::lock_guard lock(mutex_);
            all_.bytes_sent += answered.bytes_sent;
            all_.bytes_received += answered.bytes_received;
        }
        if (answered.result) end(answered.result, nullptr);
        return answered;
    }

    void answer_first();
    void answer_further(const Token& transfer);

    const Calling& call_;
    const Offer& offer_;
    AnswerOptions options_;
    const unsigned streams_;
    std::stop_source stop_, over_;
    std::mutex mutex_, telling_;
    std::optional<codec::Sha256> first_;
    std::optional<Result> result_;
    std::exception_ptr error_;
    AnsweredAll all_;
    std::stop_callback<std::function<void()>> on_stop_;
    std::vector<std::jthread> further_;
};

void Sending::answer_first() {
    const Patience& patience = options_.patience;
    AnswerOptions options = options_;
    Deadline give_up{};
    unsigned fruitless = 0;
    std::string lost;
    for (auto pause = patience.pause;; pause = std::min<std::chrono::milliseconds>(2 * pause, 5s)) {
        std::optional<Peer> peer;
        bool broke = false;
        try {
            peer = call_the_same();
        } catch (const Error& e) {
            if (lost.empty() || e.code() != Code::kPeer) throw;
            lost = e.what();
        }
        if (peer && !is_over()) {
            const Deadline latest = after(patience.outage);
            const Answered answered = answer_over(std::move(*peer), options);
            const bool lived = answered.was_open && std::chrono::steady_clock::now() > latest;
            if (answered.got_on || lived)
                fruitless = 0;
            else if (!answered.was_turned_away)
                ++fruitless;
            if (answered.got_on || lived || (answered.was_open && all_.times_broken == 0)) {
                pause = patience.pause;
                give_up = after(patience.outage);
            }
            if (answered.was_open) options.only_transfer = answered.transfer;
            lost = answered.lost;
            broke = answered.was_open;
        }
        if (is_over()) return;
        if (fruitless > patience.fruitless || std::chrono::steady_clock::now() > give_up)
            throw_error(Code::kPeer,
                        "the connection was lost: {}; run both ends again, what came so far stays", lost);
        // Another one may be about to hear that it is done.
        pause_for(pause, stop_.get_token());
        if (is_over()) return;
        if (broke) ++all_.times_broken;
        if (options.stop.stop_requested()) throw_error(Code::kInterrupted, "stopped on request");
    }
}

// One that does not come is done without: it is the first that counts what comes to nothing.
void Sending::answer_further(const Token& transfer) {
    AnswerOptions options = options_;
    options.only_transfer = transfer;
    for (std::chrono::seconds pause = 1s; !stop_.stop_requested(); pause = std::min(2 * pause, 60s)) {
        bool was_open = false;
        options.on_open = [&](const OfferedDisk&, const Token&) { was_open = true; };
        try {
            Peer peer = call_the_same();
            if (is_over()) return;
            if (answer_over(std::move(peer), options).got_on) pause = 1s;
        } catch (const Error&) {
            // What the other end gives up with is the end of all; it may be that only this one heard it.
            if (was_open && !stop_.stop_requested()) return end({}, std::current_exception());
        } catch (const std::exception&) {
            // There may be more memory later.
        }
        pause_for(pause, stop_.get_token());
    }
}

}  // namespace

AnsweredAll answer_until_done(const Calling& call, const Offer& offer, AnswerOptions options,
                              unsigned streams) {
    return Sending(call, offer, std::move(options), streams).run();
}

}  // namespace dupengine::wire

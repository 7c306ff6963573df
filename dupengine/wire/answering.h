#pragma once
// One peer's connection, at the source's end (offer.h): a thread that receives and a few that work at what
// was asked. For offer.cc.

#include <atomic>
#include <deque>
#include <exception>

#include "wire/answers.h"
#include "wire/offer.h"

namespace dupengine::wire {

class Answering {
  public:
    Answering(Peer peer, const Offer& offer, const AnswerOptions& options);
    Answered run();

  private:
    // Any honest peer has fewer under way, so it never waits for us to take a question.
    static constexpr std::size_t kMostWaiting = 256;
    static constexpr unsigned kWorkers = 2;

    bool can_come_again(Error& why) const;
    void open();
    void serve();
    bool take(const Message& message);
    void acknowledge(const Message& last) noexcept;
    void wait_for(Message question);
    void work(const OfferedDisk& disk);
    void answer_one(Answers& answers, const Message& question);
    void watch_last_words(const std::stop_token& over);
    void tell(const ProgressNote& note);
    void end_when_stopped(const std::stop_token& over);
    /// `why` is null where the connection broke.
    void fail(std::exception_ptr why) noexcept;
    void say_goodbye(const Error& why) noexcept;
    void stay_until_gone() noexcept;

    const Offer& offer_;
    const AnswerOptions& options_;
    Connection connection_;
    const OfferedDisk* disk_ = nullptr;
    CompressionGauge gauge_;
    std::shared_ptr<LastWords> words_;
    std::mutex telling_;
    Answered answered_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Message> waiting_;
    std::atomic<bool> has_answered_{false};
    bool is_over_ = false;
    std::exception_ptr failure_;  // what a worker found wrong with the other end
};

}  // namespace dupengine::wire

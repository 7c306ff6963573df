#pragma once
// The target's end of a transfer: questions about one disk, many under way, over connections that may break.
// There may be several at a time, the streams: where one processor, or one TCP connection over a long way,
// does not fill the network. They are equal; a question goes over the one with the fewest.
// What was asked and not answered is asked again over another connection, as long as that is to the same
// peer, of the same offer, and the disk is unchanged (offer.h). After Patience::outage without any it is the
// end, and so are some in a row over which nothing comes, and an end that lives but answers nothing
// (Patience::answer; Patience::prepare for what is told before questions). The first error that is final
// fails all questions, now and later. Whoever waits for an answer and is asked to stop does so in a moment.
//
// Threads: any. link_streams.cc: connections; link.cc: questions.

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/random.h"
#include "wire/connection.h"

namespace dupengine::wire {

/// The most connections of a link at a time.
inline constexpr unsigned kMostStreams = 8;

/// As many as are worth it where nobody said how many: every second of `processors`, four at most.
unsigned usual_streams(unsigned processors);

struct LinkOptions {
    Patience patience;
    std::string version;
    std::string source;         ///< its name at the other end; empty: the only one
    std::stop_token stop = {};  ///< ends all waiting, until set_stop()
    /// The next connection after one broke. Throws kPeer, then it is tried again; so it is for want of memory
    /// or threads.
    std::function<Peer(Deadline deadline, const std::stop_token& stop)> connect_again = {};
    /// Up to so many connections at a time; those after the first come by connect_again, too, and one that
    /// does not come is done without.
    unsigned streams = 1;
    /// The last connection broke, and why. From another thread.
    std::function<void(const std::string& why)> on_break = {};
};

class Link {
  public:
    /// Opens the disk over `peer`. Throws what the other end refuses it with; kPeer.
    Link(Peer peer, RandomSource& random, LinkOptions options);
    /// Without finish() or abort() the other end finds the connection broken.
    ~Link();
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    const Opened& opened() const { return opened_; }
    const std::string& name() const { return name_; }
    const Token& transfer() const { return open_.transfer; }

    struct Question;
    using Asked = std::shared_ptr<Question>;
    /// Never waits for the answer.
    Asked ask(Type type, Bytes payload);
    /// The answer. Throws what the other end could not read, and why; kPeer for another kind of answer, or if
    /// no connection can be had any more; kInterrupted if it was stopped.
    Bytes wait(const Asked& asked, Type expected);
    /// As wait(), for an answer that several wait for: each gets a copy.
    Bytes wait_shared(const Asked& asked, Type expected);
    /// An answer that is of no use any more: a later one comes in its memory.
    void give_back(Bytes answer);
    /// Called with kPrefill and kKnown, from the thread that receives.
    using OnTold = std::function<void(const Message&)>;
    /// Asks for all that is told before questions, and waits for its end. `on_told` is not called any more
    /// when it returns or throws.
    void prepare(OnTold on_told);

    /// Lost if there is no connection at the moment.
    void tell(Type type, Bytes payload) noexcept;
    /// The last word. Waits until it was heard, for Patience::farewell. False if nobody heard it.
    bool finish(const Result& result) noexcept;
    bool abort(const Failure& failure) noexcept;
    /// What ends waiting from here on.
    void set_stop(std::stop_token stop);

    std::uint64_t bytes_sent() const;
    std::uint64_t bytes_received() const;
    unsigned times_reconnected() const;

    // For link*.cc.
    struct Stream;
    struct Question {
        Message message;  // until it is answered
        std::optional<Message> answer;
        std::exception_ptr error;
        Stream* stream = nullptr;  // over which it is under way; null: over none yet
        bool is_over() const { return answer || error; }
    };

    struct Stream {
        std::shared_ptr<Connection> connection;
        unsigned questions = 0;  // that are under way over it
        bool is_lost = false;
        std::jthread receiver;
    };

  private:
    static Code believed(Code code);
    static Message& answer_of(Question& asked, Type expected);
    void wait_until_over(std::unique_lock<std::mutex>& lock, const Asked& asked,
                         std::optional<Deadline> prepared = {});
    void take_answers(Stream& stream);
    void give_up(std::exception_ptr error);
    bool say_last(Type type, Bytes payload) noexcept;

    std::shared_ptr<Connection> open(Peer peer, const std::stop_token& stop);
    void take_opened(const Opened& opened);
    void add_stream(std::shared_ptr<Connection> connection);
    std::size_t living() const;
    Stream* choose_stream();
    std::shared_ptr<Connection> charge(Question& question, Stream* stream);
    static void send(Connection& connection, std::span<const std::byte> message);
    void receive(Stream& stream);
    void lose(Stream& stream, const std::string& why);
    void close_all();
    void keep_connected(const std::stop_token& over);
    bool connect_again(const std::stop_token& over);
    std::shared_ptr<Connection> open_next(Deadline deadline, const std::stop_token& stop);
    bool note_connected();
    unsigned note_break();
    void add_further(const std::stop_token& over);

    LinkOptions options_;
    Open open_;
    Opened opened_;
    bool is_open_ = false;  // once: then opened_ stays as it is
    std::string name_;
    codec::Sha256 peer_key_{};
    const std::shared_ptr<SparePayloads> spare_ = std::make_shared<SparePayloads>();
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::list<Stream> streams_;  // also those that were lost, until their threads are gone
    std::map<std::uint64_t, Asked> under_way_;
    std::uint64_t next_id_ = 1;
    OnTold on_told_;
    std::exception_ptr broken_;
    std::string lost_why_;
    std::stop_token stop_;
    std::chrono::steady_clock::time_point last_answer_;
    std::chrono::steady_clock::time_point connected_at_;
    // Connections in a row that broke and over which nothing was answered: with questions open, and soon.
    unsigned fruitless_ = 0, brief_ = 0;
    std::uint64_t sent_before_ = 0, received_before_ = 0;  // over earlier connections
    unsigned reconnected_ = 0;
    std::stop_source connecting_;  // ends an attempt that is not needed any more
    std::jthread keeper_, adder_;
};

}  // namespace dupengine::wire

#pragma once
// The source's end of a transfer: disks that enrolled peers may read, and the answering of one peer's
// questions. Never writes. What a peer may cause is bounded: kMostWaiting questions wait, two are worked at,
// each about at most kMostAsked bytes of a disk.
//
// A connection that broke is opened again with the token that it was given: a MAC, with a key that this offer
// drew, over who asks, for which transfer, about which disk. So it opens nothing to another peer, for another
// copy, of another disk, or after the offer has ended. That the disk is unchanged is asked each time.
//
// Threads: an Offer that is complete may be used from any.

#include <atomic>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/random.h"
#include "block/changes.h"
#include "wire/connection.h"
#include "wire/last_words.h"
#include "wire/recording_reader.h"

namespace dupengine::wire {

struct OfferedDisk {
    std::string name;             ///< as it is asked for
    const block::Reader& reader;  ///< outlives the offer
    /// How it changed since it was offered; empty if it did not. May be empty.
    std::function<std::string()> change = {};
    /// What shows in a later run that it is the same (layout/content_state.h); empty if nothing can. May be
    /// empty.
    std::function<std::string()> state = {};
    bool is_busy = false;              ///< in use, and offered all the same
    bool could_change_unseen = false;  ///< nothing would show that it is written meanwhile
    /// Of a disk in use that is followed while it is copied: what was written since the round before
    /// (message.h). Empty for any other. Kept for who asks for the same again.
    std::function<std::shared_ptr<const block::Changes>(std::uint32_t number)> round = {};
    /// For the last round: what this end tells of it (message.h). May be empty.
    std::function<std::string()> report = {};
    /// The memory of the machine that it is the disk of, and its groups (message.h). Of one that has rounds.
    std::optional<OfferedMemory> memory = {};
    struct Group {
        GroupHead::Kind kind = GroupHead::Kind::kNotYet;
        Bytes bytes;
    };
    std::function<Group(std::uint32_t number)> group = {};
    /// It is several disks in a row (block/disk_row.h), in their order; empty: one.
    std::vector<block::RowPlace> row = {};
    /// The last round was given: from here on only the target's word is to come. One for all connections.
    std::shared_ptr<std::atomic<bool>> is_given = std::make_shared<std::atomic<bool>>(false);
    /// What is told before questions; one for all connections.
    std::shared_ptr<KeptPreparation> preparation = std::make_shared<KeptPreparation>();
};

class Offer {
  public:
    explicit Offer(RandomSource& random);
    /// Throws kUsage for a name that is there already or cannot be one (image::is_image_name).
    void add(OfferedDisk disk);
    const std::vector<OfferedDisk>& disks() const { return disks_; }

    /// The disk that may be read, and what is said of it. Throws kRefused: there is none of that name, it has
    /// changed (kIntegrity if that was during this transfer), the token is of something else.
    struct Admitted {
        const OfferedDisk& disk;
        Opened opened;
    };
    Admitted admit(const Open& open, const codec::Sha256& peer) const;

  private:
    const OfferedDisk& find(const std::string& name) const;
    std::vector<OfferedDisk> disks_;
    codec::Sha256 key_{};
};

struct AnswerOptions {
    Patience patience;
    std::stop_token stop;
    std::string version;
    /// Another connection after the first may only go on with this copy. What it is refused with before the
    /// disk is open again is kPeer then: nobody may say any more that nothing was written.
    std::optional<Token> only_transfer = {};
    /// What is heard of the target behind the last round, over all connections of one copy; empty: over this
    /// one.
    std::shared_ptr<LastWords> words = {};
    /// How far the other end is. From the thread that answers.
    std::function<void(const ProgressNote&)> on_progress = {};
    /// The disk was opened, by this transfer. From the thread that answers.
    std::function<void(const OfferedDisk&, const Token& transfer)> on_open = {};
    /// Another connection of this copy heard its end: this one ends as lost, without a word.
    std::stop_token over = {};
};

struct Answered {
    std::optional<Result> result;  ///< what the other end came to; empty: the connection was lost
    std::string lost;              ///< why
    bool was_open = false;
    bool got_on = false;           ///< more was asked after an answer, or how far it is was told
    bool was_turned_away = false;  ///< the other end could not go on with it at this moment
    Token transfer{};              ///< if it was open
    std::uint64_t bytes_sent = 0, bytes_received = 0;
};

/// Answers until the other end is done or gone. Throws what the other end gave up with, with its code; kPeer
/// for an end that is not honest; kInterrupted, which the other end is told, if it was stopped; kRefused if
/// the disk may not be opened.
Answered answer(Peer peer, const Offer& offer, const AnswerOptions& options);

/// What answer_until_done came to, over all of its connections.
struct AnsweredAll {
    Result result;
    std::uint64_t bytes_sent = 0, bytes_received = 0;
    unsigned times_broken = 0;
};

/// A new connection to the machine that receives, until it is stopped.
using Calling = std::function<Peer(const std::stop_token& stop)>;

/// The source's end of a copy that this end began: answers over the connection that `call` makes, and calls
/// again when one broke, or when the other end has not noticed yet that one broke, until it is done. It goes
/// on with the same machine and the same copy only: kAuthenticity and kPeer otherwise. When the first one has
/// opened the disk, it makes up to `streams` (kMostStreams, link.h) in all, and does without those that do
/// not come. Throws as answer() and `call`; kPeer after Patience::outage, or after Patience::fruitless
/// connections, over which nothing came; kInterrupted if it was stopped.
/// Threads: `call` is called from several, `options` call back one at a time.
AnsweredAll answer_until_done(const Calling& call, const Offer& offer, AnswerOptions options,
                              unsigned streams = 1);

}  // namespace dupengine::wire

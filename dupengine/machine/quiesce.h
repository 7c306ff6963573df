#pragma once
// The quiesce registry: applications and drivers that want to be asked before this machine is duplicated, and
// to be told afterwards. A participant is an executable in quiesce.d (quiesce_hooks.h) or a program that
// listens on a socket (quiesce_sockets.h); both are called in one order, that of their names (NN-name), one
// at a time.
//
//     find_participants -> Quiesce::prepare  00-first, 50-db, 90-last           the machine runs, but is at
//     rest
//        one says no, fails or is late       abort on those prepared, last first; kRefused
//     ... the blackout ...                   -> resume_source, or resume_target on the duplicate: last first
//     ... called off                         -> abort: last first
//
// A veto is nothing bad: the machine goes on as before. What goes wrong afterwards is reported and stops
// nothing. This class keeps time and order; it starts no program and opens no socket itself. Used by one
// thread. A duplicate wakes up with this object as it was on the source, and calls resume_target on the same
// participants.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace dupengine::machine {

enum class Phase { kPrepare, kResumeSource, kResumeTarget, kAbort };
/// "prepare", "resume-source", "resume-target", "abort".
const char* phase_name(Phase phase);

/// Why the participants are called. Of all texts control characters are taken out, and what passes 255 bytes.
struct Occasion {
    std::string node;    ///< what this machine is called
    std::string target;  ///< where the duplicate goes; empty where there is none
};

struct Call {
    Phase phase = Phase::kPrepare;
    Occasion occasion;
    std::chrono::milliseconds deadline{};
    /// Asked about ten times a second: if so, it is as if the deadline had passed.
    std::function<bool()> is_called_off = [] { return false; };
};

enum class Outcome {
    kDone,
    kFailed,  ///< it said no; what it had done of the phase it has undone
    kLate,    ///< it passed its deadline, or was called off, and was stopped; what it had done is not known
    kDied,    ///< it was killed half-way, by somebody else; what it had done is not known
    kGone,    ///< it is no longer there
};

struct Answer {
    Outcome outcome = Outcome::kDone;
    std::string text;  ///< what it said, bounded; from outside: whoever prints it makes it harmless
};

class Participant {
  public:
    virtual ~Participant() = default;
    /// "50-db"; for a person also where it is.
    virtual const std::string& name() const = 0;
    virtual const std::string& where() const = 0;
    /// Returns within the deadline and little more, whatever the participant does. Never throws.
    virtual Answer call(const Call& call) = 0;
    /// Whether a prepared participant can still be told how it went on. Asked last thing before the pause.
    virtual bool is_there() const { return true; }
};

/// One call, as it went.
struct CallReport {
    std::string name, where;
    Phase phase = Phase::kPrepare;
    Answer answer;
    std::chrono::milliseconds took{};
};

struct QuiesceOptions {
    std::chrono::milliseconds call_deadline{5'000};
    /// For prepare as a whole. Those that are to resume have the deadline of a call each: nobody is left out.
    std::chrono::milliseconds overall_deadline{30'000};
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
    std::function<void(const CallReport&)> on_call = [](const CallReport&) {};
    std::function<bool()> is_called_off = [] { return false; };  ///< asked before and in each call of prepare
};

class Quiesce {
  public:
    /// Participants in their order. They outlive nothing here.
    Quiesce(std::vector<std::unique_ptr<Participant>> participants, QuiesceOptions options);
    /// Aborts if it has been prepared and neither resumed nor aborted.
    ~Quiesce();
    Quiesce(const Quiesce&) = delete;
    Quiesce& operator=(const Quiesce&) = delete;

    /// When it returns, all are prepared. Otherwise throws kRefused with who would not and why, or
    /// kInterrupted when called off, and all that had been prepared were called with abort, and so was one
    /// that was late or died.
    void prepare(const Occasion& occasion);

    /// Each calls all that are prepared, the last first, and returns how many calls went wrong.
    std::size_t resume_source() { return finish(Phase::kResumeSource); }
    /// The node is now called otherwise.
    std::size_t resume_target(const std::string& node);
    std::size_t abort() { return finish(Phase::kAbort); }
    /// Calls all participants with abort: where it is not known any more who was prepared, because that was
    /// done by a copy of this object in a process that died.
    std::size_t abort_all();

  private:
    Answer call(Participant& participant, Phase phase, std::chrono::milliseconds deadline);
    void prepare_one(Participant& participant, std::chrono::steady_clock::time_point end);
    void prepare_all(std::chrono::steady_clock::time_point end);
    std::size_t finish(Phase phase);

    std::vector<std::unique_ptr<Participant>> participants_;
    QuiesceOptions options_;
    Occasion occasion_;
    std::vector<Participant*> prepared_;
};

/// A participant that cannot be one (not root's, not executable, nobody listens): where, and why.
struct NotCalled {
    std::string where, why;
};

}  // namespace dupengine::machine

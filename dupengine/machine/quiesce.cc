#include "machine/quiesce.h"

#include <algorithm>
#include <exception>

#include "base/error.h"

namespace dupengine::machine {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kMaxTextBytes = 255;

std::string one_line(std::string text) {
    std::erase_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
    if (text.size() > kMaxTextBytes) text.resize(kMaxTextBytes);
    return text;
}

std::string first_line(const std::string& text) {
    return one_line(text.substr(0, text.find('\n')));
}

// Whether it may be half prepared.
bool leaves_open(Outcome outcome) {
    return outcome == Outcome::kLate || outcome == Outcome::kDied;
}

[[noreturn]] void throw_veto(const Participant& participant, const Answer& answer, milliseconds deadline) {
    std::string why = first_line(answer.text);
    if (answer.outcome == Outcome::kLate)
        why = fmt::format("it did not answer in {:.3g} s", static_cast<double>(deadline.count()) / 1000);
    if (leaves_open(answer.outcome))
        throw_error(Code::kRefused,
                    "{} ({}) is not ready to be duplicated: {}; it was told to abort, and nothing else was "
                    "changed",
                    participant.name(), participant.where(), why.empty() ? "it was killed half-way" : why);
    if (why.empty()) why = answer.outcome == Outcome::kGone ? "it went away" : "it gave no reason";
    throw_error(Code::kRefused, "{} ({}) is not ready to be duplicated: {}; nothing was changed",
                participant.name(), participant.where(), why);
}

}  // namespace

const char* phase_name(Phase phase) {
    switch (phase) {
        case Phase::kPrepare:
            return "prepare";
        case Phase::kResumeSource:
            return "resume-source";
        case Phase::kResumeTarget:
            return "resume-target";
        case Phase::kAbort:
            return "abort";
    }
    return "unknown";
}

Quiesce::Quiesce(std::vector<std::unique_ptr<Participant>> participants, QuiesceOptions options)
    : participants_(std::move(participants)), options_(std::move(options)) {
    prepared_.reserve(participants_.size());  // nothing is allocated for it later
}

Quiesce::~Quiesce() {
    try {
        abort();
    } catch (...) {  // of on_call, which is the caller's: nothing more can be told
        prepared_.clear();
    }
}

Answer Quiesce::call(Participant& participant, Phase phase, milliseconds deadline) {
    const auto begin = options_.now();
    Call made{phase, occasion_, deadline};
    if (phase == Phase::kPrepare) made.is_called_off = options_.is_called_off;  // no other may be cut short
    const Answer answer = participant.call(made);
    const auto took = std::chrono::duration_cast<milliseconds>(options_.now() - begin);
    options_.on_call({participant.name(), participant.where(), phase, answer, took});
    return answer;
}

void Quiesce::prepare_one(Participant& participant, steady_clock::time_point end) {
    if (options_.is_called_off()) throw_error(Code::kInterrupted, "called off; nothing was changed");
    const auto left = std::chrono::duration_cast<milliseconds>(end - options_.now());
    if (left <= milliseconds(0))
        throw_error(Code::kRefused,
                    "there was no time left to ask {} ({}) whether it is ready to be duplicated; nothing was "
                    "changed",
                    participant.name(), participant.where());
    const milliseconds deadline = std::min(options_.call_deadline, left);
    // One that was stopped half-way could not undo what it had done: it is told like those that are prepared.
    prepared_.push_back(&participant);
    const Answer answer = call(participant, Phase::kPrepare, deadline);
    if (answer.outcome == Outcome::kDone) return;
    if (!leaves_open(answer.outcome)) prepared_.pop_back();
    if (options_.is_called_off())
        throw_error(Code::kInterrupted,
                    "called off; who had been prepared, or had begun to be, was told to abort");
    throw_veto(participant, answer, deadline);
}

void Quiesce::prepare_all(steady_clock::time_point end) {
    for (const auto& participant : participants_)
        prepare_one(*participant, end);
    for (Participant* participant : prepared_)
        if (!participant->is_there())
            throw_error(Code::kRefused, "{} ({}) went away after it was prepared; nothing was changed",
                        participant->name(), participant->where());
    if (options_.is_called_off()) throw_error(Code::kInterrupted, "called off; nothing was changed");
}

void Quiesce::prepare(const Occasion& occasion) {
    if (!prepared_.empty()) throw_error(Code::kInternal, "prepared twice without an end");
    occasion_ = {one_line(occasion.node), one_line(occasion.target)};
    try {
        prepare_all(options_.now() + options_.overall_deadline);
    } catch (...) {
        abort();
        throw;
    }
}

std::size_t Quiesce::resume_target(const std::string& node) {
    occasion_.node = one_line(node);
    return finish(Phase::kResumeTarget);
}

std::size_t Quiesce::abort_all() {
    prepared_.clear();
    for (const auto& participant : participants_)
        prepared_.push_back(participant.get());
    return abort();
}

// Each is forgotten before it is called: whatever throws, no participant is told twice.
std::size_t Quiesce::finish(Phase phase) {
    std::size_t wrong = 0;
    std::exception_ptr thrown;
    while (!prepared_.empty()) {
        Participant& participant = *prepared_.back();
        prepared_.pop_back();
        try {
            if (call(participant, phase, options_.call_deadline).outcome != Outcome::kDone) ++wrong;
        } catch (...) {
            thrown = std::current_exception();
        }
    }
    if (thrown) std::rethrow_exception(thrown);
    return wrong;
}

}  // namespace dupengine::machine

// The order of the quiesce registry, with participants that are made up and a clock that is ours: whoever is
// prepared is told how it went on, whatever the others do.

#include "machine/quiesce.h"

#include <gmock/gmock.h>

#include <map>

#include "base/error.h"

namespace dupengine::machine {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What happened, "prepare 10-a"; and the time, which only passes when somebody lets it.
struct World {
    std::vector<std::string> log;
    std::chrono::steady_clock::time_point now{};
    std::function<void(const std::string&)> on_call = [](const std::string&) {};
};

class FakeParticipant final : public Participant {
  public:
    struct Behaviour {
        std::map<Phase, Answer> answers;  // done, where there is none
        milliseconds takes{10};
        bool is_there = true;
    };
    FakeParticipant(World& world, std::string name, Behaviour behaviour)
        : world_(world), name_(std::move(name)), behaviour_(std::move(behaviour)) {}
    const std::string& name() const override { return name_; }
    const std::string& where() const override { return where_; }
    Answer call(const Call& call) override {
        world_.log.push_back(fmt::format("{} {}", phase_name(call.phase), name_));
        world_.on_call(world_.log.back());
        calls.push_back(call);
        if (behaviour_.takes > call.deadline) {
            world_.now += call.deadline;
            return {Outcome::kLate, {}};
        }
        world_.now += behaviour_.takes;
        const auto answer = behaviour_.answers.find(call.phase);
        return answer == behaviour_.answers.end() ? Answer{} : answer->second;
    }
    bool is_there() const override { return behaviour_.is_there; }

    std::vector<Call> calls;

  private:
    World& world_;
    std::string name_, where_ = "/made/up";
    Behaviour behaviour_;
};

class QuiesceOrder : public testing::Test {
  protected:
    FakeParticipant& add(const std::string& name, FakeParticipant::Behaviour behaviour = {}) {
        auto made = std::make_unique<FakeParticipant>(world_, name, std::move(behaviour));
        FakeParticipant& participant = *made;
        participants_.push_back(std::move(made));
        return participant;
    }
    Quiesce& quiesce() {
        if (!quiesce_) {
            options_.now = [this] { return world_.now; };
            options_.on_call = [this](const CallReport& report) { reports_.push_back(report); };
            quiesce_ = std::make_unique<Quiesce>(std::move(participants_), options_);
        }
        return *quiesce_;
    }
    // The complaint of prepare(), which must have one.
    std::string veto(Code code = Code::kRefused) {
        try {
            quiesce().prepare({"web1", "dup://web2"});
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), code);
            return e.what();
        }
        ADD_FAILURE() << "it was prepared";
        return {};
    }

    World world_;
    QuiesceOptions options_;
    std::vector<std::unique_ptr<Participant>> participants_;
    std::vector<CallReport> reports_;
    std::unique_ptr<Quiesce> quiesce_;
};

const Answer kNo{Outcome::kFailed, "a backup runs\nand more"};

TEST_F(QuiesceOrder, IsThatOfThePreparationAndBackwardsAfterwards) {
    FakeParticipant& first = add("10-a");
    add("50-b");
    quiesce().prepare({"web1", "dup://web2"});
    EXPECT_EQ(quiesce().resume_source(), 0u);
    EXPECT_THAT(world_.log,
                ElementsAre("prepare 10-a", "prepare 50-b", "resume-source 50-b", "resume-source 10-a"));
    EXPECT_EQ(first.calls[0].occasion.node, "web1");
    EXPECT_EQ(first.calls[0].occasion.target, "dup://web2");
    EXPECT_EQ(reports_.size(), 4u);
    EXPECT_EQ(reports_[0].took, milliseconds(10));
}

TEST_F(QuiesceOrder, OnTheDuplicateParticipantsAreToldItsName) {
    FakeParticipant& participant = add("10-a");
    quiesce().prepare({"web1", ""});
    EXPECT_EQ(quiesce().resume_target("web2"), 0u);
    EXPECT_EQ(participant.calls[1].phase, Phase::kResumeTarget);
    EXPECT_EQ(participant.calls[1].occasion.node, "web2");
}

TEST_F(QuiesceOrder, AVetoAbortsThosePreparedLastFirstAndAsksNobodyElse) {
    add("10-a");
    add("20-b");
    add("30-c", {{{Phase::kPrepare, kNo}}});
    add("40-d");
    EXPECT_THAT(veto(), HasSubstr("30-c (/made/up) is not ready to be duplicated: a backup runs; nothing"));
    EXPECT_THAT(world_.log,
                ElementsAre("prepare 10-a", "prepare 20-b", "prepare 30-c", "abort 20-b", "abort 10-a"));
}

TEST_F(QuiesceOrder, OneThatHangsIsAVetoAndIsToldItself) {
    add("10-a");
    add("20-b", {.takes = milliseconds(60'000)});
    EXPECT_THAT(veto(), HasSubstr("20-b (/made/up) is not ready to be duplicated: it did not answer in 5 s"));
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "prepare 20-b", "abort 20-b", "abort 10-a"));
}

TEST_F(QuiesceOrder, OneThatGoesAwayWhileItPreparesIsAVeto) {
    add("10-a");
    add("20-b", {{{Phase::kPrepare, {Outcome::kGone, ""}}}});
    EXPECT_THAT(veto(), HasSubstr("it went away"));
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "prepare 20-b", "abort 10-a"));
}

TEST_F(QuiesceOrder, OneThatGoesAwayWhileOthersPrepareIsAVeto) {
    add("10-a", {.is_there = false});
    add("20-b");
    EXPECT_THAT(veto(), HasSubstr("10-a (/made/up) went away after it was prepared"));
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "prepare 20-b", "abort 20-b", "abort 10-a"));
}

TEST_F(QuiesceOrder, ManySlowOnesShareOneDeadline) {
    options_.overall_deadline = milliseconds(9'000);
    add("10-a", {.takes = milliseconds(4'000)});
    FakeParticipant& second = add("20-b", {.takes = milliseconds(5'000)});
    add("30-c");
    EXPECT_THAT(veto(), HasSubstr("no time left to ask 30-c"));
    EXPECT_EQ(second.calls[0].deadline, milliseconds(5'000));
    EXPECT_EQ(world_.log.back(), "abort 10-a");
}

TEST_F(QuiesceOrder, TheLastOneGetsWhatIsLeftOfTheDeadline) {
    options_.overall_deadline = milliseconds(6'000);
    add("10-a", {.takes = milliseconds(4'000)});
    FakeParticipant& second = add("20-b", {.takes = milliseconds(2'500)});
    EXPECT_THAT(veto(), HasSubstr("it did not answer in 2 s"));
    EXPECT_EQ(second.calls[0].deadline, milliseconds(2'000));
    EXPECT_EQ(second.calls[1].deadline, milliseconds(5'000)) << "to go on, each has its own";
}

TEST_F(QuiesceOrder, TroubleAfterwardsIsReportedAndStopsNothing) {
    add("10-a");
    add("20-b", {{{Phase::kResumeSource, {Outcome::kGone, ""}}}});
    add("30-c", {{{Phase::kResumeSource, kNo}}});
    add("40-d");
    quiesce().prepare({"web1", ""});
    EXPECT_EQ(quiesce().resume_source(), 2u);
    EXPECT_EQ(world_.log.back(), "resume-source 10-a");
    EXPECT_EQ(reports_[5].answer.text, kNo.text);
    EXPECT_EQ(quiesce().abort(), 0u) << "nobody is told twice";
    EXPECT_EQ(world_.log.size(), 8u);
}

TEST_F(QuiesceOrder, WhoIsForgottenIsAborted) {
    add("10-a");
    quiesce().prepare({"web1", ""});
    quiesce_.reset();
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "abort 10-a"));
}

TEST_F(QuiesceOrder, ARequestToStopIsHeardBetweenCalls) {
    int asked = 0;
    options_.is_called_off = [&] { return ++asked == 2; };
    add("10-a");
    add("20-b");
    EXPECT_THAT(veto(Code::kInterrupted), HasSubstr("called off"));
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "abort 10-a"));
}

TEST_F(QuiesceOrder, WhoIsBeingAskedWhenItIsCalledOffIsToldLikeThoseBefore) {
    bool is_called_off = false;
    options_.is_called_off = [&] { return is_called_off; };
    add("10-a");
    add("20-b", {.answers = {}, .takes = milliseconds(6'000)});
    add("30-c");
    world_.on_call = [&](const std::string& what) { is_called_off = what == "prepare 20-b"; };
    EXPECT_THAT(veto(Code::kInterrupted), HasSubstr("called off"));
    EXPECT_THAT(world_.log, ElementsAre("prepare 10-a", "prepare 20-b", "abort 20-b", "abort 10-a"));
}

TEST_F(QuiesceOrder, AReportThatCannotBeGivenLeavesNobodyAtRest) {
    add("10-a");
    add("20-b");
    options_.now = [this] { return world_.now; };
    options_.on_call = [](const CallReport& report) {
        if (report.phase == Phase::kResumeSource)
            throw_error(Code::kInternal, "the report cannot be written");
    };
    Quiesce quiesce(std::move(participants_), options_);
    quiesce.prepare({"web1", ""});
    EXPECT_THROW(quiesce.resume_source(), Error);
    EXPECT_EQ(world_.log.back(), "resume-source 10-a");
}

TEST_F(QuiesceOrder, NamesFromOutsideCannotForgeLines) {
    FakeParticipant& participant = add("10-a");
    quiesce().prepare({"web1\nphase abort", std::string(5000, 'x')});
    EXPECT_EQ(participant.calls[0].occasion.node, "web1phase abort");
    EXPECT_EQ(participant.calls[0].occasion.target.size(), 255u);
}

TEST_F(QuiesceOrder, WithoutParticipantsThereIsNothingToWaitFor) {
    quiesce().prepare({"web1", ""});
    EXPECT_EQ(quiesce().resume_source(), 0u);
    EXPECT_THAT(world_.log, IsEmpty());
}

}  // namespace
}  // namespace dupengine::machine

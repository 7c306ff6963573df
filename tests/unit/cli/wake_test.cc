// A duplicate that cannot become somebody else stays what it is: at rest, with its links down.

#include "cli/wake.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace dupengine::cli {
namespace {

using testing::ElementsAreArray;
using Names = std::vector<std::string>;

const Names kOrder = {"silence_links", "find_role",        "forget_the_source",
                      "thaw_kernel",   "thaw_filesystems", "take_up_role",
                      "complete_disk", "end_what_speaks",  "thaw_processes"};

// What was begun, in order; one of them fails.
class Begun {
  public:
    explicit Begun(std::string failing) : failing_(std::move(failing)) {}
    void begin(const std::string& name) {
        names_.push_back(name);
        if (name == failing_) throw_error(Code::kRefused, "{} cannot be done", name);
    }
    const Names& names() const { return names_; }

  private:
    std::string failing_;
    Names names_;
};

class FakeAwake final : public machine::Awake {
  public:
    explicit FakeAwake(Begun& begun) : begun_(begun) {}
    Bytes letter() const override { return {}; }
    void thaw_kernel() override { begun_.begin("thaw_kernel"); }
    void thaw_filesystems() override { begun_.begin("thaw_filesystems"); }
    void thaw_processes() override { begun_.begin("thaw_processes"); }

  private:
    Begun& begun_;
};

class FakeSteps final : public WakeSteps {
  public:
    explicit FakeSteps(Begun& begun) : begun_(begun) {}
    void silence_links() override { begun_.begin("silence_links"); }
    void find_role() override { begun_.begin("find_role"); }
    void forget_the_source() override { begun_.begin("forget_the_source"); }
    void take_up_role() override { begun_.begin("take_up_role"); }
    void complete_disk() override { begun_.begin("complete_disk"); }
    void end_what_speaks() override { begun_.begin("end_what_speaks"); }

  private:
    Begun& begun_;
};

TEST(Wake, ProcessesRunLastOfAll) {
    Begun begun("");
    FakeAwake awake(begun);
    FakeSteps steps(begun);
    become(awake, steps);
    EXPECT_THAT(begun.names(), ElementsAreArray(kOrder));
}

TEST(Wake, NothingStartsFromTheDiskBeforeTheRoleIsOnIt) {
    for (const char* failing : {"find_role", "thaw_filesystems", "take_up_role"}) {
        Begun begun(failing);
        FakeAwake awake(begun);
        FakeSteps steps(begun);
        EXPECT_THROW(become(awake, steps), Error);
        EXPECT_THAT(begun.names(), testing::Not(testing::Contains("complete_disk"))) << failing;
    }
}

TEST(Wake, WhicheverStepFailsNothingBehindItIsDoneAndNoProcessRuns) {
    for (std::size_t failing = 0; failing < kOrder.size(); ++failing) {
        Begun begun(kOrder[failing]);
        FakeAwake awake(begun);
        FakeSteps steps(begun);
        EXPECT_THROW(become(awake, steps), Error) << kOrder[failing];
        EXPECT_THAT(begun.names(), ElementsAreArray(kOrder.begin(), kOrder.begin() + failing + 1));
    }
}

}  // namespace
}  // namespace dupengine::cli

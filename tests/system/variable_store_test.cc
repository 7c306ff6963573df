// A profile in the variables of firmware, by the command: made, changed, taken up, and whole where the
// firmware has no room left.

#include <gmock/gmock.h>

#include <filesystem>

#include "base/fd.h"
#include "profiles/node_role.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using test::run_dupengine;
using ::testing::HasSubstr;

const std::string kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";

// Room for four pages; one is taken.
class VariableStore : public ::testing::Test {
  protected:
    VariableStore() {
        test::must_run({"mount", "-t", "tmpfs", "-o", "size=16k", "none", folder_.path()});
        put(folder_.file("BootOrder-x"), "1234");
        put(profile_, kNode);
    }
    ~VariableStore() override { test::must_run({"umount", folder_.path()}); }
    static void put(const std::string& path, const std::string& content) {
        write_file_atomic(path, as_bytes(content), 0644, Code::kInternal);
    }
    RunResult profile(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), "profile");
        arguments.insert(arguments.begin() + 2, {"--store", store_});
        return run_dupengine(arguments);
    }

    const test::ScratchFolder folder_, work_;
    const std::string store_ = "efivar:" + folder_.path();
    const std::string profile_ = work_.file("p.toml");
};

TEST_F(VariableStore, IsMadeShownChangedAndNotMadeTwice) {
    EXPECT_THAT(profile({"init", "--dry-run"}).out, HasSubstr("would make " + store_));
    EXPECT_EQ(profile({"show"}).status, 6);
    const RunResult made = profile({"init", "--from", profile_});
    EXPECT_EQ(made.status, 0) << made.err;
    EXPECT_EQ(profile({"init"}).status, 3);
    EXPECT_THAT(profile({"set", profile_}).out, HasSubstr("generation 2 of node web-1"));
    EXPECT_THAT(profile({"show"}).out, HasSubstr("generation 2, slot 1\n" + kNode));
    EXPECT_EQ(profile({"init", "--size", "4MiB"}).status, 2);
}

TEST_F(VariableStore, StaysWholeWhereTheFirmwareHasNoRoomLeft) {
    ASSERT_EQ(profile({"init", "--from", profile_}).status, 0);
    EXPECT_NE(run_program({"dd", "if=/dev/zero", "of=" + folder_.file("dump"), "bs=4k"}).status, 0);
    const RunResult refused = profile({"set", profile_});
    EXPECT_EQ(refused.status, 9);
    EXPECT_THAT(refused.err, HasSubstr(store_ + ": DupengineProfileB: the firmware has no room left"));
    EXPECT_THAT(profile({"show"}).out, HasSubstr("generation 1, slot 0\n" + kNode));
    std::filesystem::remove(folder_.file("dump"));
    EXPECT_EQ(profile({"set", profile_}).status, 0);
    EXPECT_THAT(profile({"show"}).out, HasSubstr("generation 2, slot 1\n"));
}

TEST_F(VariableStore, GivesAFolderItsRole) {
    ASSERT_EQ(profile({"init", "--from", profile_}).status, 0);
    std::filesystem::create_directories(work_.file("root/etc"));
    put(work_.file("root/etc/hostname"), "golden\n");
    const RunResult taken =
        run_dupengine({"assume", "--yes", "--root", work_.file("root"), "--store", store_});
    EXPECT_EQ(taken.status, 0) << taken.err;
    EXPECT_EQ(read_file(work_.file("root/etc/hostname"), Code::kInternal), "web-1\n");
}

TEST_F(VariableStore, AndADiskOfAnotherMachineMakeNobody) {
    ASSERT_EQ(profile({"init", "--from", profile_}).status, 0);
    const std::string bare = work_.sparse_file("bare.img", 8 * kMiB),
                      disk = work_.sparse_file("disk.img", 64 * kMiB);
    EXPECT_EQ(profiles::find_own_role({bare}, store_).store, store_);
    const auto give = [&](std::vector<std::string> verb, const std::string& node) {
        put(profile_, "schema = 1\nkind = \"node\"\nnode = \"" + node + "\"\n");
        verb.insert(verb.begin(), "profile");
        verb.insert(verb.end(), {profile_, "--store", "partition:" + disk});
        EXPECT_EQ(run_dupengine(verb).status, 0);
    };
    give({"init", "--from"}, "web-1");
    EXPECT_EQ(profiles::find_own_role({bare, disk}, store_).store, "partition:" + disk);
    give({"set"}, "web-2");
    try {
        profiles::find_own_role({disk}, store_);
        ADD_FAILURE() << "somebody else's disk";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(),
                    HasSubstr("is the profile of web-2, and the firmware of this machine holds that of "
                              "web-1: these are two machines"));
    }
    EXPECT_EQ(profiles::find_own_role({disk}, "").profile.generation, 2u) << "a workshop";
}

// A running machine that becomes another would see its source's variables.
TEST_F(VariableStore, IsNoneForAMachineThatWakesUp) {
    const RunResult refused = run_dupengine({"clone", "--store", store_, "dup://target"});
    EXPECT_EQ(refused.status, 3);
    EXPECT_THAT(refused.err, HasSubstr("a system that wakes up has its source's files and variables"));
}

}  // namespace
}  // namespace dupengine

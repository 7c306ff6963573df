// `copy --create` makes a file, and leaves one only where a copy was begun.

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/disk_image.h"
#include "tests/support/paths.h"
#include "tests/support/person.h"

namespace dupengine {
namespace {

using test::must_run;
using test::ScratchFolder;

struct CopyCreate : testing::Test {
    ScratchFolder folder;
    std::string source = folder.file("source.img"), target = folder.file("new.img");

    void SetUp() override { test::fill_with_old_data(source, 8 << 20); }

    // Answers the question on a terminal, but only when `meanwhile` has been run.
    RunResult answer_yes_after(const std::string& meanwhile) {
        return test::run_with_a_person({"copy", "--progress=none", "--create", source, target}, meanwhile);
    }
};

TEST_F(CopyCreate, ARefusalAfterTheQuestionLeavesNoNewFile) {
    const RunResult result = answer_yes_after("exec 9<" + target + "; flock -s 9");
    EXPECT_EQ(result.status, 3) << result.out;
    EXPECT_NE(result.out.find("another"), std::string::npos) << result.out;
    EXPECT_FALSE(std::filesystem::exists(target)) << "a file that holds nothing was left behind";
}

TEST_F(CopyCreate, WhatSomebodyElseWroteIntoTheNewFileMeanwhileStays) {
    const RunResult result =
        answer_yes_after("echo 'of somebody else' | dd conv=notrunc status=none of=" + target);
    EXPECT_EQ(result.status, 3) << result.out;
    EXPECT_NE(result.out.find("changed since the plan"), std::string::npos) << result.out;
    EXPECT_TRUE(test::file_contains(target, "of somebody else"));
}

TEST_F(CopyCreate, AFailureAfterTheFirstWriteLeavesAFileThatIsPlainlyUnfinished) {
    const std::string small = folder.file("small");
    std::filesystem::create_directories(small);
    must_run({"mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", small});
    const std::string file = small + "/new.img";
    const RunResult result = test::run_dupengine({"copy", "--yes", "--create", source, file});
    EXPECT_EQ(result.status, 5) << result.err;
    const auto seen = nlohmann::json::parse(test::run_dupengine({"inspect", "--json", file}).out);
    EXPECT_TRUE(seen["incomplete"].is_object());
    must_run({"umount", small});
}

}  // namespace
}  // namespace dupengine

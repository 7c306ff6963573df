// What a script is promised of --json: one document on standard output whatever happens, one line for people
// on standard error, and the same number in the document as in the exit status.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/support/disk_image.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::ScratchFolder;

void expect_error(const std::vector<std::string>& arguments, const std::string& code, int status) {
    const RunResult result = test::run_dupengine(arguments);
    const std::string line = arguments.front() + " -> " + result.out + result.err;
    EXPECT_EQ(result.status, status) << line;
    const json report = json::parse(result.out, nullptr, false);
    ASSERT_TRUE(report.is_object()) << line;
    EXPECT_EQ(report["result"], "error") << line;
    EXPECT_EQ(report["error"]["code"], code) << line;
    EXPECT_EQ(report["error"]["exit_status"], status) << line;
    EXPECT_FALSE(report["error"]["message"].get<std::string>().empty()) << line;
    EXPECT_FALSE(result.err.empty()) << "nothing for people";
}

TEST(Json, EveryErrorIsOneDocumentWithItsExitStatus) {
    const ScratchFolder folder;
    const std::string source = folder.file("source.img"), target = folder.sparse_file("target.img", 4 << 20);
    test::fill_with_old_data(source, 8 << 20);
    expect_error({"copy", "--json", "--yes", source, target}, "refused", 3);
    expect_error({"copy", "--json", source, folder.sparse_file("large.img", 8 << 20)}, "refused", 3);
    expect_error({"copy", "--json", "--yes", folder.file("nothing"), target}, "refused", 3);
    expect_error({"copy", "--json", source}, "usage", 2);
    expect_error({"copy", "--json", "--no-such-option", source, target}, "usage", 2);
    expect_error({"copy", "--json", "--verify=perhaps", source, target}, "usage", 2);
    expect_error({"inspect", "--json"}, "usage", 2);
    expect_error({"inspect", "--json", folder.file("nothing")}, "refused", 3);
    expect_error({"profile", "show", "--json", "--store", "elsewhere:x"}, "usage", 2);
}

// A number where a word belongs must not mean something by accident: 2 was once "none".
TEST(Json, AnOptionTakesItsWordsAndNothingElse) {
    for (const char* option : {"--verify=2", "--unused=1", "--delta=2", "--progress=0", "--verify=al"}) {
        const RunResult result = test::run_dupengine({"copy", option, "a", "b"});
        EXPECT_EQ(result.status, 2) << option;
        EXPECT_NE(result.err.find("is none of"), std::string::npos) << result.err;
    }
}

TEST(Json, TheReportOfACopyHoldsWhatWasPromised) {
    const ScratchFolder folder;
    const test::DiskImage source = test::make_disk_image(folder, "source.img");
    const std::string target = folder.sparse_file("target.img", 128 << 20);
    const std::string store = "partition:" + target;
    ASSERT_EQ(test::run_dupengine({"profile", "init", "--store", store}).status, 0);
    const RunResult result = test::run_dupengine({"copy", "--json", "--yes", source.path, target});
    ASSERT_EQ(result.status, 0) << result.err;
    const json report = json::parse(result.out);
    EXPECT_EQ(report["result"], "verified");
    EXPECT_EQ(report["source"], source.path);
    EXPECT_EQ(report["target"], target);
    for (const char* count : {"bytes_used", "bytes_read", "bytes_written", "bytes_zeroed", "bytes_verified"})
        EXPECT_TRUE(report[count].is_number_unsigned()) << count;
    EXPECT_GT(report["seconds"], 0.0);
    ASSERT_EQ(report["protected"].size(), 1u);
    const json& kept = report["protected"][0];
    EXPECT_EQ(kept["extent"], (json{{"begin", 123 << 20}, {"end", 127 << 20}}));
    EXPECT_EQ(kept["sha256_before"].get<std::string>().size(), 64u);
    EXPECT_EQ(kept["sha256_before"], kept["sha256_after"]);
}

}  // namespace
}  // namespace dupengine

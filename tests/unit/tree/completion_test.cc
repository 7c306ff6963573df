// The shell completes what the command understands: the words that bash offers are those of --help.

#include <gmock/gmock.h>

#include <sstream>

#include "base/subprocess.h"
#include "tests/support/help_text.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

// What bash offers after these words; the last one is the one that is being typed. Bash itself splits words
// at "=".
std::vector<std::string> offered(const std::vector<std::string>& words) {
    std::vector<std::string> argv = {
        "bash",
        "-c",
        "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _dupengine;"
        "printf '%s\\n' \"${COMPREPLY[@]}\"",
        "bash",
        test::source_folder() + "/completion/dupengine.bash",
        test::command()};
    argv.insert(argv.end(), words.begin(), words.end());
    std::istringstream lines(test::must_run(argv));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);)
        if (!line.empty()) found.push_back(line);
    return found;
}

TEST(Completion, EveryVerbAndSubcommandIsOffered) {
    for (auto words : test::all_commands()) {
        const auto expected = test::help_of(words).subcommands;
        if (expected.empty()) continue;
        words.emplace_back();
        EXPECT_THAT(offered(words), UnorderedElementsAreArray(expected));
    }
}

TEST(Completion, EveryOptionOfAVerbIsOfferedAndNoOther) {
    for (auto words : test::all_commands()) {
        const auto expected = test::help_of(words).options;
        words.emplace_back("-");
        EXPECT_THAT(offered(words), UnorderedElementsAreArray(expected));
    }
}

TEST(Completion, OptionsAreOfferedAfterOtherWordsToo) {
    EXPECT_THAT(offered({"inspect", "/dev/null", "--js"}), ElementsAre("--json"));
}

TEST(Completion, TheValuesOfAnOptionAreOffered) {
    EXPECT_THAT(offered({"inspect", "--sector-size", "4"}), ElementsAre("4096"));
    EXPECT_THAT(offered({"inspect", "--sector-size", "=", "5"}), ElementsAre("512"));
    EXPECT_THAT(offered({"copy", "--progress", "="}), ElementsAre("auto", "bar", "json", "none"));
}

TEST(Completion, TheValuesThatAreOfferedAreUnderstood) {
    for (const char* option : {"--unused", "--verify", "--progress"})
        for (const std::string& value : offered({"copy", option, ""})) {
            const RunResult result =
                test::run_dupengine({"copy", option, value, "/nonexistent/a", "/nonexistent/b"});
            EXPECT_EQ(result.status, 3) << option << " " << value << ": " << result.complaint();
        }
}

TEST(Completion, FilesAreOfferedWhereADiskIsWanted) {
    const test::ScratchFolder scratch;
    const std::string file = scratch.sparse_file("golden.img", 1);
    EXPECT_THAT(offered({"inspect", scratch.file("gold")}), ElementsAre(file));
    EXPECT_THAT(offered({"profile", "show", "--store", "file", ":", scratch.file("gold")}),
                ElementsAre(file));
}

}  // namespace
}  // namespace dupengine

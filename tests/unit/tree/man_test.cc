// The manual pages say what the command does: the options of each page are those of --help, and the other way
// round.

#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/fd.h"
#include "tests/support/help_text.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kManFolder = test::source_folder() + "/man";

std::string page(const std::string& name) {
    return read_file(kManFolder + "/" + name, Code::kInternal);
}

// The text of a macro line: `.BR \-y ", " \-\-yes` is `-y ,  --yes`.
std::string plain(const std::string& line) {
    std::string text = std::regex_replace(line, std::regex(R"(^\.[A-Z]+ )"), "");
    text = std::regex_replace(text, std::regex(R"(\\-)"), "-");
    return std::regex_replace(text, std::regex("\""), " ");
}

// What follows .TP in a page: the things that it explains.
std::vector<std::string> explained(const std::string& text) {
    std::vector<std::string> found;
    std::istringstream lines(text);
    bool is_next = false;
    for (std::string line; std::getline(lines, line);) {
        if (is_next) found.push_back(plain(line));
        is_next = line == ".TP";
    }
    return found;
}

std::set<std::string> options_of_page(const std::string& text) {
    static const std::regex kOption(R"((^|[\s,])(--?[A-Za-z][A-Za-z0-9-]*))");
    std::set<std::string> options;
    for (const std::string& line : explained(text))
        for (std::sregex_iterator match(line.begin(), line.end(), kOption), end; match != end; ++match)
            options.insert((*match)[2]);
    return options;
}

TEST(ManualPages, EveryOptionOfAVerbIsInItsPageAndNoOther) {
    std::map<std::string, std::set<std::string>>
        options;  // by page; a verb's page explains its subcommands too
    for (const auto& words : test::all_commands()) {
        const test::HelpText help = test::help_of(words);
        options[words.empty() ? "dupengine.8" : "dupengine-" + words[0] + ".8"].insert(help.options.begin(),
                                                                                       help.options.end());
    }
    ASSERT_GE(options.size(), 2u) << "no verb was found in --help";
    for (const auto& [name, expected] : options) {
        ASSERT_TRUE(fs::exists(kManFolder + "/" + name)) << "there is no page " << name;
        EXPECT_EQ(options_of_page(page(name)), expected) << name;
    }
}

TEST(ManualPages, TheOverviewNamesEveryVerb) {
    const std::string text = plain(page("dupengine.8"));
    for (const std::string& verb : test::help_of({}).subcommands) {
        EXPECT_NE(text.find("\n.B dupengine " + verb), std::string::npos) << verb << " is not in SYNOPSIS";
        EXPECT_NE(text.find("dupengine-" + verb + " (8)"), std::string::npos) << verb << " has no reference";
    }
}

TEST(ManualPages, AVerbsPageExplainsItsSubcommands) {
    for (const auto& words : test::all_commands()) {
        if (words.size() != 2) continue;
        EXPECT_THAT(explained(page("dupengine-" + words[0] + ".8")), Contains(words[1]));
    }
}

TEST(ManualPages, TheExitStatusesAreThoseOfTheProgram) {
    const std::string text = page("dupengine.8");
    for (int number = 1; number <= static_cast<int>(Code::kInterrupted); ++number) {
        const std::string expected =
            fmt::format(".TP\n.B {}\n.BR {} :", number, code_name(static_cast<Code>(number)));
        EXPECT_NE(text.find(expected), std::string::npos) << "EXIT STATUS " << number;
    }
}

TEST(ManualPages, EveryPageIsWellFormed) {
    for (const auto& entry : fs::directory_iterator(kManFolder)) {
        const RunResult result =
            run_program({"man", "--warnings", "-E", "UTF-8", "-l", entry.path().string()});
        EXPECT_EQ(result.status, 0) << entry.path();
        EXPECT_EQ(result.err, "") << entry.path();
        EXPECT_THAT(result.out, Not(IsEmpty())) << entry.path();
    }
}

TEST(ManualPages, APageThatIsReferredToExists) {
    static const std::regex kReference(R"((dupengine[a-z-]*)\s*\(([0-9])\))");
    for (const auto& entry : fs::directory_iterator(kManFolder)) {
        const std::string text =
            std::regex_replace(read_file(entry.path(), Code::kInternal), std::regex(R"(\\-)"), "-");
        for (std::sregex_iterator match(text.begin(), text.end(), kReference), end; match != end; ++match) {
            const std::string name = (*match)[1].str() + "." + (*match)[2].str();
            EXPECT_TRUE(fs::exists(kManFolder + "/" + name))
                << entry.path().filename() << " refers to " << name;
        }
    }
}

}  // namespace
}  // namespace dupengine

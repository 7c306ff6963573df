#include "tests/support/help_text.h"

#include <sstream>

#include "base/error.h"
#include "tests/support/scratch.h"

namespace dupengine::test {
namespace {

// "-y,--yes" of "  -y,--yes                    Do not ask before writing"
void add_options(const std::string& line, std::set<std::string>& options) {
    std::istringstream stream(line);
    std::string first;
    stream >> first;
    std::istringstream names(first);
    for (std::string name; std::getline(names, name, ',');)
        options.insert(name);
}

}  // namespace

HelpText help_of(const std::vector<std::string>& words) {
    std::vector<std::string> arguments = words;
    arguments.emplace_back("--help");
    const RunResult result = run_dupengine(arguments);
    if (result.status != 0) throw_error(Code::kInternal, "--help failed: {}", result.complaint());
    HelpText help;
    std::istringstream lines(result.out);
    bool in_subcommands = false;
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line[0] != ' ') in_subcommands = line == "Subcommands:";
        const std::size_t text = line.find_first_not_of(' ');
        if (text == std::string::npos || text == 0 || text > 2)
            continue;  // a heading, or a line that goes on
        if (line[text] == '-') add_options(line, help.options);
        if (in_subcommands) help.subcommands.push_back(line.substr(text, line.find(' ', text) - text));
    }
    return help;
}

std::vector<std::vector<std::string>> all_commands() {
    std::vector<std::vector<std::string>> commands = {{}};
    for (std::size_t i = 0; i < commands.size(); ++i) {
        const std::vector<std::string> words = commands[i];
        for (const std::string& name : help_of(words).subcommands) {
            commands.push_back(words);
            commands.back().push_back(name);
        }
    }
    return commands;
}

}  // namespace dupengine::test

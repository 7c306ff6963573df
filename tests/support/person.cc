#include "tests/support/person.h"

#include "tests/support/scratch.h"

namespace dupengine::test {

RunResult run_with_a_person(const std::vector<std::string>& arguments, const std::string& first) {
    const ScratchFolder folder;
    std::string line = command();
    for (const std::string& word : arguments)
        line += " '" + word + "'";
    const std::string script =
        "(until grep -qs 'Type yes' \"$0/screen\" || [ -e \"$0/ended\" ]; do sleep 0.05; done\n" + first +
        "\necho yes; until [ -e \"$0/ended\" ]; do sleep 0.05; done) |\n"
        "(script -qefc \"$1\" \"$0/screen\"; status=$?; touch \"$0/ended\"; exit $status)";
    return run_program({"sh", "-c", script, folder.path(), line});
}

}  // namespace dupengine::test

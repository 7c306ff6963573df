#include "tests/support/paths.h"

namespace dupengine::test {

const std::string& source_folder() {
    static const std::string folder = DUPENGINE_SOURCE_DIR;
    return folder;
}

const std::string& command() {
    static const std::string path = DUPENGINE_COMMAND;
    return path;
}

const std::string& without_bpf() {
    static const std::string path = DUPENGINE_WITHOUT_BPF;
    return path;
}

}  // namespace dupengine::test

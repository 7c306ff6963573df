#pragma once
// Where the tree and the command under test are. Only paths.cc is compiled for one tree; everything else
// comes out the same wherever it is built, so that a compiler cache serves all checkouts.

#include <string>

namespace dupengine::test {

const std::string& source_folder();
/// The dupengine command.
const std::string& command();
/// Runs what follows it where bpf(2) is not allowed (tests/programs).
const std::string& without_bpf();

}  // namespace dupengine::test

#pragma once
// What libbpf has to say is not printed: the last line is kept, for an error. For all threads, each its own.

#include <string>

namespace dupengine::machine {

/// To be called before libbpf is used; forgets what was kept.
void keep_bpf_complaints();
/// Of this thread; "it did not say why" if there is none.
std::string last_bpf_complaint();

}  // namespace dupengine::machine

#pragma once
// Runs one command for a bounded time and keeps a bounded part of what it prints. It ends when the command
// itself ends: a child that it leaves behind, and that still holds its output, is not waited for. When it is
// late it is killed with its process group, children and all. Safe from any thread.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace dupengine::machine {

inline constexpr std::size_t kMaxHookOutput = 4096;

struct HookCommand {
    std::vector<std::string> argv;         ///< argv[0] is a path
    std::vector<std::string> environment;  ///< "NAME=value", all of it
    std::chrono::milliseconds deadline{};
    std::function<bool()> is_called_off = [] { return false; };  ///< then it is late at once
};

struct HookEnd {
    bool is_late = false;
    int status = 0;      ///< exit status, or 128 + signal; 127 if it could not be started
    std::string output;  ///< both streams, the first kMaxHookOutput bytes

    /// By a signal, or so its shell says of what it called: it did not come to its end.
    bool was_killed() const { return status > 128; }
};

/// Never throws but for want of memory or descriptors (kInternal): then nothing was started, or it was
/// killed.
HookEnd run_hook(const HookCommand& command);

}  // namespace dupengine::machine

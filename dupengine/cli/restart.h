#pragma once
// `receive --restart`: this machine runs a system, and leaves it for a small one (dupengine-initramfs(8))
// that waits for another machine. What the small system needs of this one goes along: its keys in memory
// only, its address, the options.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "cli/remote_source.h"

namespace dupengine::cli {

struct RestartOptions {
    bool is_wanted = false;
    std::string kernel, initramfs;  ///< empty: of the kernel that runs, in /boot
    std::string append;             ///< further words for the kernel
};
void add_restart_options(CLI::App& verb, RestartOptions& options);

/// What the small system shall do.
struct NextReception {
    std::vector<std::string> targets;
    std::string listen;
    bool is_live = false;
    PeerOptions peers;
};

/// The command line of the small system's kernel. Of this one's, `current`, it keeps where the console is and
/// what it says of memory. `network` is asked unless `append` says "ip=". Throws kUsage for what cannot be
/// said in words.
std::string reception_words(const NextReception& reception, const std::string& current,
                            const std::function<std::string()>& network, const std::string& append);

/// Everything is looked at before anything is stopped. Throws kUnsupported, kRefused, kUsage; returns when
/// all that runs is being stopped.
void restart_to_receive(const NextReception& reception, const RestartOptions& options, bool ask);

}  // namespace dupengine::cli

#include "tests/support/running.h"

#include <signal.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/support/becomes.h"

namespace dupengine::test {

bool is_listening(std::uint16_t port) {
    std::ifstream table("/proc/net/tcp");
    const std::string wanted = fmt::format("0100007F:{:04X} 00000000:0000 0A", port);
    for (std::string line; std::getline(table, line);)
        if (line.find(wanted) != std::string::npos) return true;
    return false;
}

Running::Running(std::vector<std::string> arguments) {
    // The shell's process becomes the command's.
    std::vector<std::string> argv = {"sh", "-c", "echo $$ >\"$0\" && exec \"$@\"", scratch_.file("process"),
                                     command()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    result_ = std::async(std::launch::async, [this, words = std::move(argv)] {
        RunOptions options;
        options.stop = stop_.get_token();
        try {
            return run_program(words, options);
        } catch (const Error& e) {
            return RunResult{128 + 9, "", e.what()};
        }
    });
}

Running::~Running() {
    kill();
    if (result_.valid()) result_.wait();
}

void Running::wait_until_listening(std::uint16_t port) const {
    if (!becomes([port] { return is_listening(port); }))
        throw_error(Code::kInternal, "nothing ever waited on port {}", port);
}

pid_t Running::process() const {
    pid_t process = 0;
    std::ifstream(scratch_.file("process")) >> process;
    return process;
}

void Running::signal(int number) const {
    const pid_t running = process();
    if (running > 0) ::kill(running, number);
}

Running::Usage Running::usage() const {
    const std::string folder = fmt::format("/proc/{}", process());
    Usage usage;
    std::ifstream status(folder + "/status");
    for (std::string word; status >> word;) {
        if (word == "VmHWM:" && status >> usage.most_memory_bytes) usage.most_memory_bytes *= 1024;
        if (word == "Threads:") status >> usage.threads;
    }
    std::error_code gone;
    for (auto at = std::filesystem::directory_iterator(folder + "/fd", gone);
         !gone && at != std::filesystem::directory_iterator(); at.increment(gone))
        ++usage.descriptors;
    return usage;
}

}  // namespace dupengine::test

#include "tests/support/killed_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/becomes.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

namespace {

// In a session of its own, which the programs that it starts are in, too.
pid_t start(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {"setsid", command()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawnp(&pid, "setsid", &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

bool is_of_session(pid_t process, pid_t session) {
    std::ifstream file(fmt::format("/proc/{}/stat", process));
    std::string text;
    std::getline(file, text);
    std::istringstream words(text.substr(std::min(text.size(), text.rfind(')') + 1)));
    char state = 'Z';
    pid_t parent = 0, group = 0, of = 0;
    return words >> state >> parent >> group >> of && of == session && state != 'Z' && state != 'X';
}

// Whether there were any.
bool kill_session(pid_t session) {
    bool any = false;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const pid_t process = std::atoi(entry.path().filename().c_str());
        if (process <= 0 || !is_of_session(process, session)) continue;
        ::kill(process, SIGKILL);
        any = true;
    }
    return any;
}

bool kill_all(pid_t pid) {
    int status = 0;
    const bool ended = ::waitpid(pid, &status, WNOHANG) == pid;
    if (!ended) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
    }
    EXPECT_TRUE(becomes([pid] { return !kill_session(pid); })) << "what it started goes on";
    return ended;
}

}  // namespace

bool run_and_kill(const std::vector<std::string>& arguments, std::chrono::microseconds after) {
    const pid_t pid = start(arguments);
    std::this_thread::sleep_for(after);
    return kill_all(pid);
}

bool run_and_kill(const std::vector<std::string>& arguments, const std::function<bool()>& when) {
    const pid_t pid = start(arguments);
    const auto has_ended = [pid] {
        siginfo_t seen{};
        return ::waitid(P_PID, static_cast<id_t>(pid), &seen, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               seen.si_pid == pid;
    };
    becomes([&] { return when() || has_ended(); });
    return kill_all(pid);
}

}  // namespace dupengine::test

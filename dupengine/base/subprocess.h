#pragma once
// Runs another program (resize2fs, tune2fs, mtools, ...) without a shell and waits for it. Both output
// streams are kept, bounded in size; a program that passes its deadline, or is no longer wanted, is killed
// with its process group, also when it has closed its outputs.

#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

namespace dupengine {

struct RunOptions {
    std::string input;  ///< written to its standard input
    std::chrono::milliseconds deadline{600'000};
    std::stop_token stop;  ///< asked to stop: it is killed
    std::vector<std::string>
        extra_environment;  ///< "NAME=value"; the rest is inherited, with LC_ALL=C unless it is among these
};

struct RunResult {
    int status = 0;  ///< exit status, or 128 + signal
    std::string out;
    std::string err;
    /// The first lines of err (else of out), for an error message.
    std::string complaint() const;
};

/// argv[0] is looked up in PATH, /usr/sbin and /sbin. Throws kUnsupported if it is not there, kInternal if it
/// cannot be started or passes its deadline, kInterrupted if it was stopped on request. A non-zero status is
/// the caller's to judge.
RunResult run_program(const std::vector<std::string>& argv, const RunOptions& options = {});

/// Whether run_program would find it.
bool program_exists(const std::string& name);

}  // namespace dupengine

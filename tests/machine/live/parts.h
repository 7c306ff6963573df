#pragma once
// The parts of live_workload; workload.cc says what they do. They throw std::runtime_error where they cannot
// begin.

#include <string>

namespace dupengine::live {

[[noreturn]] void run_counter(const std::string& folder);
[[noreturn]] void run_records(const std::string& folder);
[[noreturn]] void run_pages(const std::string& folder);
/// Returns at the first error.
int run_client(const std::string& folder, const std::string& address, int port);

/// Pauses the machine for as long as it takes to make an image of its memory and to send all of it, over
/// plain TCP, to a server that takes everything; and says how long that was. What a duplication is held
/// against.
int run_naive(const std::string& address, int port);

/// 0: all is as it should be; 1: not, and standard error says what.
int check(const std::string& folder, const std::string& name);
/// The same for what `records` left behind; an empty text if it is sound.
std::string complaint_of_records(const std::string& folder);

}  // namespace dupengine::live

#pragma once
// A port of 127.0.0.1 for a program that is told on which it has to listen.

#include <cstdint>

namespace dupengine::test {

/// Nobody listens there, and until this process ends no other test is given it. Not one of those that the
/// kernel gives to whoever asks for any.
std::uint16_t free_port();

}  // namespace dupengine::test

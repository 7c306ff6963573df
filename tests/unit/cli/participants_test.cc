#include "cli/participants.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dupengine::cli {
namespace {

// The process that prepares them was forked before anybody could ask to stop.
TEST(Participants, ARequestToStopReachesTheProcessThatPreparesThem) {
    std::stop_source stop;
    const CalledOff called_off(stop.get_token());
    const pid_t child = ::fork();
    if (child == 0) {
        for (int i = 0; i < 10'000 && !called_off.is(); ++i)
            ::usleep(1000);
        ::_exit(called_off.is() ? 0 : 1);
    }
    EXPECT_FALSE(called_off.is());
    stop.request_stop();
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "hooks go on for their whole deadline";
}

}  // namespace
}  // namespace dupengine::cli

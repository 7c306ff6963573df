#include "tests/support/theatre.h"

#include <algorithm>

namespace dupengine::test {

using namespace dupengine::wire;

Opened a_disk(std::byte token) {
    Opened disk;
    disk.geometry.size_bytes = 8 * kMiB;
    disk.name = "disk";
    disk.resume.fill(token);
    return disk;
}

void Actor::open_as_source(const Opened& disk) {
    connection_.greet(Role::kAnswers, "0");
    connection_.receive();
    connection_.send({Type::kOpened, 0, encode(disk)});
}

Message Actor::open_the_disk(std::byte transfer, const Token& resume) {
    Open open{"disk", {}, resume};
    open.transfer.fill(transfer);
    connection_.send({Type::kOpen, 0, encode(open)});
    return next();
}

Message Actor::ask(Type type, Bytes payload) {
    connection_.send({type, 1, std::move(payload)});
    return next();
}

void Actor::turn_away(Code code, const std::string& why) {
    connection_.send({Type::kAbort, 0, encode(Failure{code, why})});
    while (next().type != Type::kAbort) {
    }
}

Peer Theatre::connect() {
    auto ends = memory_transports();
    const Play& play = plays_[std::min<std::size_t>(connections++, plays_.size() - 1)];
    actors_.emplace_back([&play, end = std::move(ends.second)]() mutable {
        try {
            Actor actor(std::move(end));
            play(actor);
        } catch (const Error&) {
            // We have ended it.
        }
    });
    return {std::move(ends.first), {}, "other end"};
}

LinkOptions Theatre::options(bool again) {
    LinkOptions options;
    options.patience = kShort;
    if (again) options.connect_again = [this](Deadline, const std::stop_token&) { return connect(); };
    return options;
}

}  // namespace dupengine::test

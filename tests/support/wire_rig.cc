#include "tests/support/wire_rig.h"

namespace dupengine::test {

using namespace std::chrono_literals;

wire::Patience short_patience() {
    return {.silence = 5s, .message = 5s, .beat = 1s, .farewell = 1s, .outage = 5s};
}

WireRig::WireRig(const block::Reader& source, std::uint64_t seed)
    : WireRig(wire::OfferedDisk{"disk", source}, seed) {}

WireRig::WireRig(wire::OfferedDisk disk, std::uint64_t seed) : random_(seed), offer_(random_) {
    offer_.add(std::move(disk));
}

WireRig::~WireRig() {
    stop.request_stop();
    wait_for_answers();
}

wire::Peer WireRig::connect(std::byte asker) {
    codec::Sha256 key{}, ours{};
    key.fill(asker);
    ours.fill(std::byte{7});
    const std::lock_guard lock(mutex_);
    const std::size_t number = next_++;
    auto [theirs, here] =
        memory_transports(number < connections.size() ? connections[number] : MemoryTransportOptions{});
    answering_.emplace_back([this, number, key, end = std::move(here)]() mutable {
        std::string outcome = "done";
        std::uint64_t sent = 0;
        try {
            wire::AnswerOptions options;
            options.patience = patience;
            options.stop = stop.get_token();
            const auto answered = wire::answer({std::move(end), key, "asker"}, offer_, options);
            sent = answered.bytes_sent;
            if (!answered.result) outcome = "lost: " + answered.lost;
        } catch (const Error& e) {
            outcome = e.what();
        }
        const std::lock_guard keep(mutex_);
        outcomes_.push_back(outcome);
        sent_[number] = sent;
    });
    return {std::move(theirs), ours, "source-end"};
}

std::unique_ptr<wire::Link> WireRig::link(bool again, std::string source) {
    wire::LinkOptions options;
    options.patience = patience;
    options.source = std::move(source);
    options.streams = streams;
    if (again) options.connect_again = [this](wire::Deadline, const std::stop_token&) { return connect(); };
    return std::make_unique<wire::Link>(connect(), random_, options);
}

std::size_t WireRig::connected() {
    const std::lock_guard lock(mutex_);
    return next_;
}

std::uint64_t WireRig::bytes_sent(std::size_t number) {
    const std::lock_guard lock(mutex_);
    return sent_.at(number);
}

std::vector<std::string> WireRig::outcomes() {
    const std::lock_guard lock(mutex_);
    return outcomes_;
}

void WireRig::wait_for_answers() {
    std::vector<std::jthread> ended;
    {
        const std::lock_guard lock(mutex_);
        ended.swap(answering_);
    }
}

}  // namespace dupengine::test

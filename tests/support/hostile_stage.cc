#include "tests/support/hostile_stage.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/fake_devices.h"
#include "wire/offer.h"

namespace dupengine::test {

using namespace std::chrono_literals;
using namespace dupengine::wire;

Patience hostile_patience() {
    return {.silence = 300ms, .message = 600ms, .beat = 100ms, .farewell = 100ms, .outage = 100ms};
}

Stage::Stage() {
    auto ends = memory_transports();
    ours = std::move(ends.first), theirs = std::move(ends.second);
}

void Stage::say(const Bytes& bytes) {
    try {
        theirs->send(bytes, after(1s));
    } catch (const Error&) {
        // We have ended it already.
    }
}

Message hello(Role role) {
    return {Type::kHello, 0, encode(Hello{role, "0"})};
}

Message opened() {
    Opened disk;
    disk.geometry.size_bytes = 8 * kMiB;
    disk.name = "disk";
    disk.resume.fill(std::byte{1});
    return {Type::kOpened, 0, encode(disk)};
}

Bytes header_of(Type type, std::uint32_t payload_bytes) {
    Bytes bytes(kHeaderBytes);
    encode_header({type, 1, payload_bytes}, bytes);
    return bytes;
}

Bytes together(Bytes first, const Bytes& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

Ending ending_of(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    Ending ending;
    try {
        work();
        ADD_FAILURE() << "it was taken for honest";
    } catch (const Error& e) {
        ending = {e.code(), e.what()};
    }
    ending.time = std::chrono::steady_clock::now() - start;
    EXPECT_LT(ending.time, 20s) << "it kept us for too long";
    EXPECT_EQ(ending.text.find('\n'), std::string::npos);
    return ending;
}

void say_in_turn(Stage& stage, const std::vector<Bytes>& script) {
    try {
        for (const Bytes& bytes : script) {
            Bytes header(kHeaderBytes);
            receive_exact(*stage.theirs, header, after(10s));
            Bytes payload(decode_header(header).payload_bytes);
            receive_exact(*stage.theirs, payload, after(10s));
            stage.say(bytes);
        }
    } catch (const Error&) {
        // We have ended it.
    }
}

Ending lying_source(const std::vector<Bytes>& script, const std::function<void(RemoteReader&)>& use) {
    Stage stage;
    Peer us = stage.us();
    const std::jthread liar([&] { say_in_turn(stage, script); });
    return ending_of([&] {
        SeededRandom random(1);
        LinkOptions options;
        options.patience = hostile_patience();
        Link link(std::move(us), random, options);
        RemoteReader reader(link);
        if (use) use(reader);
    });
}

Ending lying_target(const std::vector<Bytes>& script) {
    const MemoryDevice device(std::uint64_t{8 * kMiB});
    SeededRandom random(1);
    Offer offer(random);
    offer.add({"disk", device});
    Stage stage;
    for (const Bytes& bytes : script)
        stage.say(bytes);
    bool was_lost = false;
    Ending ending = ending_of([&] {
        AnswerOptions options;
        options.patience = hostile_patience();
        const Answered answered = answer(stage.us(), offer, options);
        was_lost = !answered.result;
        if (was_lost) throw_error(Code::kPeer, "{}", answered.lost);
    });
    ending.was_lost = was_lost;
    return ending;
}

void Tampered::send(std::span<const std::byte> bytes, Deadline deadline) {
    const Header header = decode_header(bytes.first(kHeaderBytes));
    const auto payload = bytes.subspan(kHeaderBytes);
    const Bytes instead = change_sent_(sent_++, {header.type, header.id, {payload.begin(), payload.end()}});
    if (!instead.empty()) inner_->send(instead, deadline);
}

std::size_t Tampered::receive(std::span<std::byte> buffer, Deadline deadline) {
    while (come_.empty()) {
        Bytes first(kHeaderBytes);
        receive_exact(*inner_, first, deadline);
        const Header header = decode_header(first);
        Message message{header.type, header.id, Bytes(header.payload_bytes)};
        receive_exact(*inner_, message.payload, deadline);
        come_ = change_received_(received_++, message);
    }
    const std::size_t count = std::min(buffer.size(), come_.size());
    const auto end = come_.begin() + static_cast<std::ptrdiff_t>(count);
    std::copy(come_.begin(), end, buffer.begin());
    come_.erase(come_.begin(), end);
    return count;
}

}  // namespace dupengine::test

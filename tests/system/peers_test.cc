// receive, serve, and copy to and from dup://: two processes on this machine, with real TLS between them.

#include "tests/system/peers.h"

#include <signal.h>

#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/random.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/becomes.h"
#include "tests/support/disk_image.h"
#include "tests/support/person.h"
#include "tests/support/theatre.h"
#include "wire/channel.h"
#include "wire/tcp.h"

namespace dupengine {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TEST_F(Peers, ASystemDiskTravelsAndBothEndsSaySo) {
    const test::DiskImage source = test::make_disk_image(folder_, "source.img");
    const std::string target = folder_.sparse_file("target.img", 128 << 20);
    test::fill_with_old_data(target, 128 << 20);
    const auto receiving = receive(target, {"--grow"});
    const RunResult sent = send(source.path);
    const RunResult received = receiving->end();
    ASSERT_EQ(sent.status, 0) << sent.err;
    ASSERT_EQ(received.status, 0) << received.err;
    EXPECT_EQ(json::parse(sent.out)["result"], "verified");
    EXPECT_EQ(json::parse(received.out)["result"], "verified");
    const std::string from = folder_.file("from.img"), to = folder_.file("to.img");
    test::extract_range(source.path, source.root, from);
    test::extract_range(target, source.root, to);
    EXPECT_EQ(test::ext_tree_digest(folder_, from), test::ext_tree_digest(folder_, to));
    EXPECT_FALSE(test::file_contains(target, test::kDeletedText)) << "deleted files travelled";
    EXPECT_FALSE(test::file_contains(target, test::kOldText)) << "the target's old data shines through";
    EXPECT_LT(json::parse(sent.out)["bytes_sent"].get<std::uint64_t>(),
              json::parse(sent.out)["bytes_used"].get<std::uint64_t>() + 4 * kMiB);
}

TEST_F(Peers, ASecondSendCarriesWhatChangedAndDigests) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    const auto first = receive(to);
    ASSERT_EQ(send(from).status, 0);
    ASSERT_EQ(first->end().status, 0);
    expect_copy(to, *source, *old);
    constexpr std::uint64_t kPiece = 64 * kKiB, kPieces = 128;  // 8 MiB of 48
    SeededRandom random(3);
    for (std::uint64_t i = 0; i < kPieces; ++i)
        random.fill(std::span(source->content).subspan(kData.begin + 6 * i * kPiece, kPiece));
    disk_file("source.img", *source);
    const auto second = receive(to);
    const RunResult sent = send(from);
    const RunResult received = second->end();
    ASSERT_EQ(sent.status, 0) << sent.err;
    ASSERT_EQ(received.status, 0) << received.err;
    expect_copy(to, *source, *old);
    const auto bytes = json::parse(sent.out)["bytes_sent"].get<std::uint64_t>();
    const std::uint64_t digests = kData.size() / kPiece * 32;
    EXPECT_GE(bytes, kPieces * kPiece);
    EXPECT_LE(bytes, kPieces * kPiece * 11 / 10 + digests);
}

TEST_F(Peers, WhatTheTargetsEndRefusesTheSendersExitStatusSays) {
    const std::string from = disk_file("source.img", *a_source());
    const std::string small = folder_.sparse_file("small.img", 8 << 20);
    const auto receiving = receive(small);
    const RunResult sent = send(from);
    EXPECT_EQ(sent.status, 3) << sent.err;
    EXPECT_EQ(receiving->end().status, 3);
    EXPECT_NE(sent.err.find("small.img"), std::string::npos) << sent.err;
    EXPECT_EQ(content_of(small), Bytes(8 << 20)) << "something was written";
}

TEST_F(Peers, OneOfferIsPulledByTwoMachinesAtOnce) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source);
    const std::string one = disk_file("one.img", *old), two = disk_file("two.img", *old);
    Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
    serving.wait_until_listening(port_);
    const auto pull = [&](const std::string& target) {
        return std::make_unique<Running>(std::vector<std::string>{"copy", "--yes", "--json", "--peers",
                                                                  target_folder_, url_ + "/web", target});
    };
    const auto first = pull(one), second = pull(two);
    const RunResult a = first->end(), b = second->end();
    EXPECT_EQ(a.status, 0) << a.err;
    EXPECT_EQ(b.status, 0) << b.err;
    expect_copy(one, *source, *old);
    expect_copy(two, *source, *old);
    const RunResult unknown =
        test::run_dupengine({"copy", "--yes", "--peers", target_folder_, url_ + "/mail", one});
    EXPECT_EQ(unknown.status, 3) << unknown.err;
    serving.kill();
    serving.end();
}

TEST_F(Peers, AMachineOfAnotherAuthorityGetsNothing) {
    test::TestPki other(2);
    const std::string from = disk_file("source.img", *a_source());
    Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
    serving.wait_until_listening(port_);
    const std::string target = disk_file("target.img", *a_target());
    const RunResult stranger =
        test::run_dupengine({"copy", "--yes", "--peers", other.enrol("thief"), url_ + "/web", target});
    EXPECT_EQ(stranger.status, 7) << stranger.err;
    EXPECT_EQ(content_of(target), a_target()->content);
    serving.kill();
    serving.end();
}

// What changes while it is read is no copy of anything: whoever wants it all the same has to say so here. Of
// what is offered beside it, and is not in use, nobody has to.
TEST_F(Peers, ADiskThatIsOfferedWhileInUseIsOnlyTakenByThoseWhoSaySo) {
    const auto idle = a_source(), old = a_target();
    const test::DiskImage disk = test::make_disk_image(folder_, "used.img");
    const std::string from = disk_file("source.img", *idle), target = folder_.sparse_file("to.img", 96 << 20);
    const test::LoopDevice root(disk.path, {.offset_bytes = disk.root.begin, .size_bytes = disk.root.size()});
    const test::Mount mounted(root.path(), folder_.file("mounted"));
    Running serving({"serve", "--busy-source", "--peers", source_folder_, "--listen", address_,
                     "web=" + disk.path, "idle=" + from});
    serving.wait_until_listening(port_);
    const auto pull = [&](const std::string& name, std::vector<std::string> more) {
        std::vector<std::string> words{"copy", "--yes", "--peers", target_folder_, url_ + "/" + name, target};
        words.insert(words.end(), more.begin(), more.end());
        return test::run_dupengine(words);
    };
    const RunResult refused = pull("web", {});
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_NE(refused.err.find("--busy-source"), std::string::npos) << refused.err;
    EXPECT_EQ(content_of(target), Bytes(96 << 20));
    const RunResult taken = pull("web", {"--busy-source"});
    EXPECT_EQ(taken.status, 0) << taken.err;
    EXPECT_NE(taken.out.find("in use there"), std::string::npos) << taken.out;
    const RunResult other = pull("idle", {});
    EXPECT_EQ(other.status, 0) << other.err;
    EXPECT_EQ(part(content_of(target), kData), part(idle->content, kData));
    serving.kill();
    serving.end();
}

// A key that is named and not looked at would be worse than none.
TEST_F(Peers, TrustInASignatureThatIsNotCheckedHereIsRefused) {
    const std::string target = disk_file("target.img", *a_target());
    const std::string key = folder_.file("images.key");
    ASSERT_EQ(test::run_dupengine({"image", "keygen", key}).status, 0);
    const RunResult refused = test::run_dupengine(
        {"copy", "--yes", "--peers", target_folder_, "--trust", key + ".pub", url_ + "/web", target});
    EXPECT_EQ(refused.status, 2) << refused.err;
    EXPECT_EQ(content_of(target), a_target()->content);
}

TEST_F(Peers, SilentStrangersKeepNobodyFromServeOrReceive) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    const auto strangers = [&] {
        std::vector<std::unique_ptr<wire::Transport>> all;
        for (int i = 0; i < 32; ++i)
            all.push_back(wire::connect_tcp({"127.0.0.1", port_}, wire::after(10s)));
        return all;
    };
    {
        Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
        serving.wait_until_listening(port_);
        const auto silent = strangers();
        const RunResult pulled =
            test::run_dupengine({"copy", "--yes", "--peers", target_folder_, url_ + "/web", to});
        EXPECT_EQ(pulled.status, 0) << pulled.err;
        serving.kill();
        serving.end();
    }
    const auto receiving = receive(to);
    const auto silent = strangers();
    const RunResult sent = send(from);
    EXPECT_EQ(sent.status, 0) << sent.err;
    EXPECT_EQ(receiving->end().status, 0);
}

TEST_F(Peers, ASecondSenderHearsWithWhomReceiveIsBusy) {
    const auto source = a_source();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *a_target());
    const auto receiving = receive(to, {"--rate", "16M"});
    Running first({"copy", "--peers", source_folder_, from, url_});
    wait_until_it_has_begun(to, *source);
    const RunResult second = test::run_dupengine({"copy", "--peers", pki_.enrol("second"), from, url_});
    EXPECT_EQ(second.status, 3) << second.err;
    EXPECT_NE(second.err.find("busy with source"), std::string::npos) << second.err;
    EXPECT_EQ(first.end().status, 0);
    EXPECT_EQ(receiving->end().status, 0);
}

// The other end describes a large disk, or only says that it lives.
TEST_F(Peers, ACopyIsStoppedWhileTheSourceStillPrepares) {
    const std::string target = disk_file("target.img", *a_target());
    const auto source = pki_.credentials("slow");
    wire::Listener listener({"127.0.0.1", port_});
    std::promise<void> asked;
    const std::jthread slow([&] {
        try {
            test::Actor actor(wire::accept_channel(listener.accept(wire::after(10s)), *source),
                              wire::Patience{});
            actor.open_as_source(test::a_disk());
            EXPECT_EQ(actor.next().type, wire::Type::kPrepare);
            asked.set_value();
            const wire::Message last = actor.next();
            EXPECT_EQ(last.type, wire::Type::kAbort) << "the other end is not told";
            actor.answer(last, wire::Type::kAlive, {});
            actor.live();
        } catch (const Error&) {
            // It has ended the connection.
        }
    });
    Running pulling({"copy", "--yes", "--peers", target_folder_, url_ + "/web", target});
    ASSERT_EQ(asked.get_future().wait_for(10s), std::future_status::ready);
    const auto begin = std::chrono::steady_clock::now();
    pulling.signal(SIGTERM);
    const RunResult stopped = pulling.end();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
    EXPECT_EQ(stopped.status, 10) << stopped.err;
    EXPECT_EQ(content_of(target), a_target()->content);
}

TEST_F(Peers, OnlyTheMachineThatWasNamedIsAskedOrAnswered) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    const auto pull = [&](const std::string& name) {
        return test::run_dupengine(
            {"copy", "--yes", "--peers", target_folder_, "--peer", name, url_ + "/web", to});
    };
    {
        Running serving({"serve", "--peers", source_folder_, "--peer", "backup", "--peer", "target",
                         "--listen", address_, "web=" + from});
        serving.wait_until_listening(port_);
        const RunResult other = pull("other");
        EXPECT_EQ(other.status, 7) << other.err;
        EXPECT_NE(other.err.find("is source, not other"), std::string::npos) << other.err;
        const RunResult third =
            test::run_dupengine({"copy", "--yes", "--peers", pki_.enrol("third"), url_ + "/web", to});
        EXPECT_NE(third.status, 0) << "serve answered a machine that was not named";
        EXPECT_EQ(content_of(to), old->content);
        EXPECT_EQ(pull("source").status, 0);
        expect_copy(to, *source, *old);
        serving.kill();
        serving.end();
    }
    const std::string next = disk_file("next.img", *old);
    const auto receiving = receive(next, {"--peer", "source"});
    const auto send_as = [&](const std::string& folder, const std::string& name) {
        return test::run_dupengine({"copy", "--peers", folder, "--peer", name, from, url_});
    };
    EXPECT_EQ(send_as(source_folder_, "other").status, 7);
    EXPECT_NE(send_as(pki_.enrol("third"), "target").status, 0) << "receive took it from another machine";
    EXPECT_EQ(content_of(next), old->content);
    EXPECT_EQ(send_as(source_folder_, "target").status, 0);
    EXPECT_EQ(receiving->end().status, 0);
    expect_copy(next, *source, *old);
}

// Otherwise the sender would take the other end for gone after a quarter of an hour.
TEST_F(Peers, TheSenderHearsThatAPersonIsAsked) {
    const auto source = a_source(), old = a_target();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *old);
    // The person thinks for a while.
    std::future<RunResult> received = std::async(std::launch::async, [&] {
        return test::run_with_a_person({"receive", "--peers", target_folder_, "--listen", address_, to},
                                       "sleep 4");
    });
    ASSERT_TRUE(test::becomes([&] { return test::is_listening(port_); }));
    const RunResult sent =
        test::run_dupengine({"copy", "--progress", "json", "--peers", source_folder_, from, url_});
    EXPECT_EQ(sent.status, 0) << sent.err;
    EXPECT_NE(sent.err.find("\"asking\""), std::string::npos) << sent.err;
    EXPECT_EQ(received.get().status, 0);
    expect_copy(to, *source, *old);
}

TEST_F(Peers, ACopyIsHeldAgainstADiskOfTheMachineThatWasNamed) {
    const auto source = a_source();
    const std::string from = disk_file("source.img", *source), to = disk_file("target.img", *a_target());
    Running serving({"serve", "--peers", source_folder_, "--listen", address_, "web=" + from});
    serving.wait_until_listening(port_);
    ASSERT_EQ(test::run_dupengine({"copy", "--yes", "--peers", target_folder_, url_ + "/web", to}).status, 0);
    const auto verify = [&](const std::string& name) {
        return test::run_dupengine({"verify", "--peers", target_folder_, "--peer", name, url_ + "/web", to});
    };
    const RunResult same = verify("source");
    EXPECT_EQ(same.status, 0) << same.err;
    const RunResult other = verify("other");
    EXPECT_EQ(other.status, 7) << other.err;
    EXPECT_NE(other.err.find("is source, not other"), std::string::npos) << other.err;
    EXPECT_EQ(test::run_dupengine({"verify", "--peer", "source", from, to}).status, 2)
        << "nobody is at another end";
    serving.signal(SIGTERM);
    EXPECT_EQ(serving.end().status, 0) << "to be told to stop is no failure";
}

TEST_F(Peers, AMachineToNameIsAtTheOtherEnd) {
    const std::string from = disk_file("source.img", *a_source()), to = disk_file("target.img", *a_target());
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--peer", "web1", from, to}).status, 2);
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--peer", "no name", from, url_}).status, 2);
    EXPECT_EQ(content_of(to), a_target()->content);
}

TEST_F(Peers, FiveDisksOfOneMachineAreCopiedAsASet) {
    constexpr std::uint64_t kSmall = 8 * kMiB;
    std::vector<std::string> serve = {"serve", "--peers", source_folder_, "--listen", address_};
    std::vector<std::string> pull = {"copy", "--yes", "--peers", target_folder_};
    std::vector<std::shared_ptr<test::DiskBytes>> disks;
    for (unsigned i = 0; i < 5; ++i) {
        disks.push_back(test::make_gpt_disk(kSmall, {{1, {kMiB, 2 * kMiB}, "data"}}, 10 + i));
        serve.push_back(fmt::format("d{0}={1}", i, disk_file(fmt::format("from{}.img", i), *disks.back())));
        const std::string to = folder_.sparse_file(fmt::format("to{}.img", i), kSmall);
        pull.insert(pull.end(), {"--map", fmt::format("{}/d{}={}", url_, i, to)});
    }
    Running serving(serve);
    serving.wait_until_listening(port_);
    const RunResult pulled = test::run_dupengine(pull);
    EXPECT_EQ(pulled.status, 0) << pulled.err;
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_EQ(part(content_of(folder_.file(fmt::format("to{}.img", i))), {kMiB, 2 * kMiB}),
                  part(disks[i]->content, {kMiB, 2 * kMiB}));
    serving.kill();
    serving.end();
}

}  // namespace
}  // namespace dupengine

// Thousands of cuts of copies between two machines, over TLS: of random disks, at every kind of moment, again
// and again within one copy, until it ends and is run again. In between the target is the old disk or plainly
// unfinished; afterwards it is the source, and its profile is what it was.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <list>

#include "tests/support/campaign.h"
#include "tests/support/cut_network.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/remote_copy.h"
#include "tests/support/test_pki.h"
#include "wire/channel.h"
#include "wire/offer.h"

namespace dupengine::wire {
namespace {

using namespace std::chrono_literals;
using block::Extent;
using test::Cut;
using test::CutNetwork;
using test::DiskBytes;
using test::MemoryDevice;

// 300 seeds are more than 10,000 cuts.
constexpr std::size_t kCutsOfASeed = 35;
constexpr Patience kPatience{
    .silence = 10s, .message = 10s, .beat = 1s, .farewell = 500ms, .outage = 400ms, .pause = 1ms};

// Who calls: the target's end (`copy dup://HOST/NAME TARGET`, from `serve`) or the source's end (`copy SOURCE
// dup://HOST`, to `receive`). The other one waits, and who calls is who calls again.
enum class Way { kPull, kPush };

struct Machines {
    test::TestPki pki;
    std::unique_ptr<Credentials> source = pki.credentials("source"), target = pki.credentials("target");
};

Peer as_peer(std::unique_ptr<Channel> channel) {
    const codec::Sha256 key = channel->peer().key_sha256;
    std::string name = channel->peer().name;
    return {std::move(channel), key, std::move(name)};
}

// Two disks and how the one is copied onto the other.
struct Scene {
    explicit Scene(std::uint64_t seed);
    std::string verdict() const;

    SeededRandom random;
    std::vector<test::PartitionRecipe> partitions;
    Extent profile;
    std::shared_ptr<DiskBytes> source, target;
    Bytes before;
    test::RemoteCopyOptions options;
    bool shows_that_it_is_unchanged = false;
    unsigned streams = 1;
};

Extent pieces(std::uint64_t begin, std::uint64_t end) {
    return {begin * kPieceBytes, end * kPieceBytes};
}

Scene::Scene(std::uint64_t seed) : random(seed) {
    // In pieces of 64 KiB: the partitions of the source, free space, the profile, free space.
    const std::uint64_t small = 17 + random.below(8), end = 48 + random.below(64);
    const std::uint64_t kept = end + 4 + random.below(4);
    partitions = {{1, pieces(16, small), "esp"}, {2, pieces(small, end), "root"}};
    profile = pieces(kept, kept + 1);
    const std::uint64_t size = pieces(0, kept + 24).end;
    source = test::make_gpt_disk(size, partitions, 2 * seed);
    // Some zeros, and some that compresses.
    for (const std::byte value : {std::byte{0}, std::byte{'x'}}) {
        const std::uint64_t first = small + random.below(end - small);
        const Extent stretch = pieces(first, std::min(end, first + random.below(12)));
        std::fill_n(source->content.begin() + static_cast<std::ptrdiff_t>(stretch.begin), stretch.size(),
                    value);
    }
    const std::uint64_t larger = random.below(2) * 3 * kMiB;
    target = test::make_gpt_disk(size + larger,
                                 {{1, pieces(16, end - random.below(20)), "old"},
                                  {128, profile, "profile", layout::type_guid::kProfile}},
                                 2 * seed + 1, random.below(2) == 0);
    // Nothing, half, or nearly all is there already.
    const std::uint64_t missing_of_16 = std::array<std::uint64_t, 3>{16, 8, 1}[random.below(3)];
    for (std::uint64_t piece = 16; piece < end; ++piece) {
        if (random.below(16) < missing_of_16) continue;
        const auto at = static_cast<std::ptrdiff_t>(pieces(piece, end).begin);
        std::copy_n(source->content.begin() + at, kPieceBytes, target->content.begin() + at);
    }
    before = target->content;
    options.copy.delta = random.below(3) == 0 ? engine::Delta::kAuto : engine::Delta::kAlways;
    options.copy.tuning.chunk_bytes = random.below(2) == 0 ? 64 * kKiB : kMiB;
    options.copy.tuning.workers = static_cast<unsigned>(1 + random.below(2));
    options.journal_pace = random.below(2) == 0 ? 0ms : 2000ms;
    shows_that_it_is_unchanged = random.below(2) == 0;
    streams = static_cast<unsigned>(1 + random.below(3));
}

// What is wrong with the target, after a copy that said it was complete.
std::string Scene::verdict() const {
    if (test::part_of(target->content, profile) != test::part_of(before, profile))
        return "the profile is lost";
    const auto table = layout::read_partition_table(MemoryDevice(target));
    if (!table.primary_valid || !table.backup_valid) return "it has no table";
    if (table.partitions.size() != partitions.size() + 1) return "its table is another one";
    for (const auto& partition : partitions)
        if (test::part_of(target->content, partition.extent) !=
            test::part_of(source->content, partition.extent))
            return partition.name + " is not the source's";
    return "";
}

// Answers each connection that comes, as `serve` does.
class Serving {
  public:
    Serving(CutNetwork& network, const Credentials& credentials, const Offer& offer)
        : network_(network), thread_([this, &credentials, &offer] {
              std::list<std::jthread> talks;
              while (auto transport = network_.accept(after(60s)))
                  talks.emplace_back([&credentials, &offer, end = std::move(transport)]() mutable {
                      try {
                          Peer peer = as_peer(accept_channel(std::move(end), credentials));
                          answer(std::move(peer), offer, {.patience = kPatience});
                      } catch (const Error&) {
                          // The other end knows.
                      }
                  });
          }) {}
    ~Serving() { network_.hang_up(); }

  private:
    CutNetwork& network_;
    std::jthread thread_;
};

void pull(const Scene& scene, const Machines& machines, const Offer& offer, CutNetwork& network) {
    const Serving serving(network, *machines.source, offer);
    const auto call = [&](Deadline = {}, const std::stop_token& = {}) {
        return as_peer(connect_channel(network.call(), *machines.target));
    };
    LinkOptions options;
    options.patience = kPatience;
    options.connect_again = call;
    options.streams = scene.streams;
    SystemRandom random;
    Link link(call(), random, options);
    test::copy_over(link, scene.target, scene.options);
}

// A source's end that calls until the copy is done; a person runs it again when it gives up.
class Sending {
  public:
    Sending(CutNetwork& network, const Credentials& credentials, const Offer& offer, unsigned streams)
        : network_(network), thread_([this, &credentials, &offer, streams](const std::stop_token& given_up) {
              const auto call = [&](const std::stop_token&) {
                  return as_peer(connect_channel(network_.call(), credentials));
              };
              while (!given_up.stop_requested()) {
                  try {
                      answer_until_done(call, offer, {.patience = kPatience, .stop = given_up}, streams);
                      return;
                  } catch (const Error&) {
                      std::this_thread::sleep_for(1ms);
                  }
              }
          }) {}
    ~Sending() {
        thread_.request_stop();
        network_.hang_up();
    }

  private:
    CutNetwork& network_;
    std::jthread thread_;
};

// The next machine that proves who it is.
Peer answer_call(CutNetwork& network, const Credentials& credentials, Deadline deadline,
                 const std::stop_token& stop = {}) {
    for (;;) {
        auto transport = network.accept(std::min(deadline, after(20ms)));
        if (transport == nullptr) {
            if (std::chrono::steady_clock::now() < deadline && !stop.stop_requested()) continue;
            throw_error(Code::kPeer, "nobody called in time");
        }
        try {
            return as_peer(accept_channel(std::move(transport), credentials));
        } catch (const Error&) {
            // It was cut; the next one.
        }
    }
}

void push(const Scene& scene, const Machines& machines, const Offer& offer, CutNetwork& network) {
    const Sending sending(network, *machines.source, offer, scene.streams);
    LinkOptions options;
    options.patience = kPatience;
    options.streams = kMostStreams;
    options.connect_again = [&](Deadline deadline, const std::stop_token& stop) {
        return answer_call(network, *machines.target, deadline, stop);
    };
    SystemRandom random;
    Link link(answer_call(network, *machines.target, after(10s)), random, options);
    test::copy_over(link, scene.target, scene.options);
}

struct Figures {
    std::size_t copies = 0, cuts = 0, runs_that_ended = 0;
    std::size_t sends[2] = {0, 0};  // of an uncut copy, by end
};

class CutCopies {
  public:
    CutCopies(Way way, const Machines& machines, std::uint64_t seed, Figures& figures)
        : way_(way), machines_(machines), scene_(seed), figures_(figures) {
        learn_its_length();
    }

    // Copies until it is complete, with cuts. Empty, or what went wrong.
    std::string copy() {
        scene_.target->content = scene_.before;
        ++figures_.copies;
        for (int run = 0; run < 6; ++run) {
            CutNetwork network(run == 5 ? std::vector<Cut>{} : draw_cuts());
            const std::string ended = run_over(network);
            figures_.cuts += network.cuts_done();
            if (ended.empty()) return scene_.verdict();
            if (ended.find('\n') != std::string::npos) return "more than a line: " + ended;
            if (!test::is_old_or_marked(scene_.target, scene_.before))
                return "ended, and is neither the old disk nor plainly unfinished: " + ended;
            if (test::part_of(scene_.target->content, scene_.profile) !=
                test::part_of(scene_.before, scene_.profile))
                return "ended, and the profile is lost: " + ended;
            ++figures_.runs_that_ended;
            if (run == 5) return "without a cut, it ended with: " + ended;
        }
        return "";
    }

  private:
    // Empty if it is complete, else why it ended.
    std::string run_over(CutNetwork& network) {
        const auto start = std::chrono::steady_clock::now();
        const MemoryDevice device(scene_.source, 512, "source");
        SystemRandom random;
        Offer offer(random);
        const bool shows = scene_.shows_that_it_is_unchanged;
        offer.add({"disk", device, {}, [shows] { return shows ? "as it was" : ""; }});
        std::string ended;
        try {
            way_ == Way::kPull ? pull(scene_, machines_, offer, network)
                               : push(scene_, machines_, offer, network);
        } catch (const Error& e) {
            ended = e.code() == Code::kPeer ? e.what() : fmt::format("not for the connection\n{}", e.what());
        }
        if (std::chrono::steady_clock::now() - start > 60s) return "a run took a minute\n";
        return ended;
    }

    void learn_its_length() {
        CutNetwork whole;
        if (const std::string ended = run_over(whole); !ended.empty())
            throw_error(Code::kInternal, "a copy without a cut: {}", ended);
        for (const bool of_caller : {true, false})
            figures_.sends[of_caller ? 0 : 1] = whole.most_sends(of_caller);
    }

    Cut draw_cut(bool in_handshake) {
        SeededRandom& random = scene_.random;
        Cut cut;
        cut.of_caller = random.below(2) == 0;
        const std::size_t all = figures_.sends[cut.of_caller ? 0 : 1] + 1;
        // Near the beginning, near the end, anywhere.
        const std::size_t most[] = {4, std::min<std::size_t>(all, 14), all, all};
        cut.send = random.below(in_handshake ? 3 : most[random.below(4)]);
        if (!in_handshake && random.below(8) == 0)
            cut.send = all - 1 - random.below(std::min<std::size_t>(all, 4));
        cut.where = static_cast<Cut::Where>(random.below(4));
        cut.part = random.below(1000);
        return cut;
    }

    // A few; sometimes one in the middle and then so many that nobody has the patience.
    std::vector<Cut> draw_cuts() {
        const bool is_hopeless = scene_.random.below(12) == 0;
        std::vector<Cut> cuts(is_hopeless ? 16 : 1 + scene_.random.below(7));
        for (std::size_t i = 0; i < cuts.size(); ++i)
            cuts[i] = draw_cut(is_hopeless && i != 0);
        return cuts;
    }

    const Way way_;
    const Machines& machines_;
    Scene scene_;
    Figures& figures_;
};

void cut_copies(Way way) {
    const Machines machines;
    const test::Seeds seeds = test::campaign_seeds(4);
    Figures figures;
    for (std::uint64_t seed = seeds.first; seed < seeds.end; ++seed) {
        const std::size_t done = figures.cuts;
        CutCopies copies(way, machines, seed, figures);
        for (int copy = 0; figures.cuts - done < kCutsOfASeed / 2 + 1; ++copy) {
            ASSERT_LT(copy, 200) << "hardly anything is cut; " << test::how_to_repeat(seed);
            ASSERT_EQ(copies.copy(), "") << "copy " << copy << " of " << test::how_to_repeat(seed);
        }
    }
    std::printf("%zu cuts of %zu copies, of which %zu runs ended and were run again; seeds %llu to %llu\n",
                figures.cuts, figures.copies, figures.runs_that_ended,
                static_cast<unsigned long long>(seeds.first), static_cast<unsigned long long>(seeds.end - 1));
}

TEST(Cuts, ACopyThatIsPulledIsTheSourceAfterAnyCuts) {
    cut_copies(Way::kPull);
}

TEST(Cuts, ACopyThatIsPushedIsTheSourceAfterAnyCuts) {
    cut_copies(Way::kPush);
}

}  // namespace
}  // namespace dupengine::wire

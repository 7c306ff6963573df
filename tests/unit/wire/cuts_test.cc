// The connection is cut before, inside and after every message of a whole copy, at either end. Afterwards the
// copy goes on over another connection, or it ends with an error and is run again; both times the target is
// the source at the end, its profile is untouched, and in between it is never a disk that looks complete.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/gpt_disk.h"
#include "tests/support/remote_copy.h"
#include "tests/support/wire_rig.h"

namespace dupengine::wire {
namespace {

using block::Extent;
using test::DiskBytes;
using test::MemoryDevice;
using test::WireRig;

constexpr std::uint64_t kSize = kMiB;
const Extent kData{320 * kKiB, 576 * kKiB};
const Extent kProfile{640 * kKiB, 704 * kKiB};

std::shared_ptr<DiskBytes> a_source() {
    return test::make_gpt_disk(kSize, {{1, kData, "root"}}, 1);
}

// With a profile, and with half of the data already, so that digests, too, are on the wire.
std::shared_ptr<DiskBytes> a_target(const DiskBytes& source) {
    auto target = test::make_gpt_disk(
        kSize,
        {{1, {320 * kKiB, 384 * kKiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}}, 2,
        true);
    const auto begin = static_cast<std::ptrdiff_t>(kData.begin);
    std::copy_n(source.content.begin() + begin, kData.size() / 2, target->content.begin() + begin);
    return target;
}

Bytes part(const DiskBytes& disk, Extent e) {
    return test::part_of(disk.content, e);
}

void copy_over(Link& link, const std::shared_ptr<DiskBytes>& to) {
    test::RemoteCopyOptions options;
    options.copy.delta = engine::Delta::kAlways;
    options.copy.tuning.chunk_bytes = 64 * kKiB;
    test::copy_over(link, to, options);
}

void expect_complete(const DiskBytes& source, const std::shared_ptr<DiskBytes>& target,
                     const Bytes& profile) {
    const auto table = layout::read_partition_table(MemoryDevice(target));
    EXPECT_TRUE(table.primary_valid && table.backup_valid);
    EXPECT_EQ(table.partitions.size(), 2u);
    EXPECT_EQ(part(*target, kData), part(source, kData));
    EXPECT_EQ(part(*target, kProfile), profile);
}

// Where messages begin in what an end sends: remembered by who listens in.
struct Boundaries {
    std::set<std::uint64_t> sent, received;  // by the target's end
};

class Listening final : public Transport {
  public:
    Listening(std::unique_ptr<Transport> inner, Boundaries& seen) : inner_(std::move(inner)), seen_(seen) {}
    void send(std::span<const std::byte> bytes, Deadline deadline) override {
        seen_.sent.insert(sent_);
        inner_->send(bytes, deadline);
        sent_ += bytes.size();
    }
    std::size_t receive(std::span<std::byte> buffer, Deadline deadline) override {
        const std::size_t bytes = inner_->receive(buffer, deadline);
        if (buffer.size() == kHeaderBytes) seen_.received.insert(received_);
        received_ += bytes;
        return bytes;
    }
    void close() noexcept override { inner_->close(); }
    const std::string& name() const override { return inner_->name(); }

  private:
    std::unique_ptr<Transport> inner_;
    Boundaries& seen_;
    std::uint64_t sent_ = 0, received_ = 0;
};

Boundaries listen_to_a_copy() {
    const auto source = a_source();
    const auto target = a_target(*source);
    const MemoryDevice device(source, 512, "source");
    WireRig rig(device);
    Boundaries seen;
    Peer peer = rig.connect();
    peer.transport = std::make_unique<Listening>(std::move(peer.transport), seen);
    LinkOptions options;
    options.patience = rig.patience;
    Link link(std::move(peer), rig.random(), options);
    copy_over(link, target);
    return seen;
}

// Before each message, inside its header, behind it, and inside what it says.
std::set<std::uint64_t> cuts_of(const std::set<std::uint64_t>& boundaries) {
    std::set<std::uint64_t> cuts;
    for (auto at = boundaries.begin(); at != boundaries.end(); ++at) {
        const auto next = std::next(at);
        const std::uint64_t end = next == boundaries.end() ? *at + kHeaderBytes : *next;
        for (const std::uint64_t cut : {*at, *at + 1, *at + kHeaderBytes - 1, *at + kHeaderBytes,
                                        *at + kHeaderBytes + 1, (*at + end) / 2, end - 1})
            if (cut < end) cuts.insert(cut);
    }
    return cuts;
}

struct Case {
    test::MemoryTransportOptions connection;
    std::string name;
};

std::vector<Case> all_cuts() {
    const Boundaries seen = listen_to_a_copy();
    std::vector<Case> cases;
    for (const std::uint64_t cut : cuts_of(seen.sent))
        cases.push_back({{.first_cut = cut}, fmt::format("the target's end, at byte {}", cut)});
    for (const std::uint64_t cut : cuts_of(seen.received))
        cases.push_back({{.second_cut = cut}, fmt::format("the source's end, at byte {}", cut)});
    return cases;
}

void cut_and_run_again(const Case& c, bool again) {
    const auto source = a_source();
    const auto target = a_target(*source);
    const Bytes profile = part(*target, kProfile), before = target->content;
    const MemoryDevice device(source, 512, "source");
    WireRig rig(device);
    rig.connections.push_back(c.connection);
    bool is_done = false;
    std::unique_ptr<Link> link;
    try {
        link = rig.link(again);
        copy_over(*link, target);
        is_done = true;
    } catch (const Error& e) {
        // A connection that was cut before the disk was open is for whoever made it; every other is replaced.
        EXPECT_TRUE(!again || link == nullptr) << c.name << ": " << e.what();
        EXPECT_EQ(e.code(), Code::kPeer) << c.name << ": " << e.what();
    }
    link.reset();
    if (!is_done) {
        EXPECT_EQ(part(*target, kProfile), profile) << c.name;
        EXPECT_TRUE(test::is_old_or_marked(target, before)) << c.name;
        link = rig.link(false);
        copy_over(*link, target);
    }
    expect_complete(*source, target, profile);
    if (testing::Test::HasFailure()) ADD_FAILURE() << c.name;
}

TEST(Cuts, ACopyGoesOnOverAnotherConnectionWhereverTheFirstWasCut) {
    const auto cases = all_cuts();
    ASSERT_GT(cases.size(), 200u);
    for (const Case& c : cases) {
        cut_and_run_again(c, true);
        if (HasFailure()) return;
    }
    RecordProperty("cases", static_cast<int>(cases.size()));
}

TEST(Cuts, ACopyThatDiedWithItsConnectionIsRunAgainAndComplete) {
    const auto cases = all_cuts();
    ASSERT_GT(cases.size(), 200u);
    for (const Case& c : cases) {
        cut_and_run_again(c, false);
        if (HasFailure()) return;
    }
    RecordProperty("cases", static_cast<int>(cases.size()));
}

}  // namespace
}  // namespace dupengine::wire

// A duplicate that wakes up and finds no role of its own: all of it stays at rest, its links are down, and no
// frame leaves it.

#include "cli/wake.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <net/if.h>

#include "block/open.h"
#include "cli/wake_letter.h"
#include "engine/held_boot.h"
#include "profiles/slots.h"
#include "profiles/stores/partition.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/network_lab.h"

namespace dupengine::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Everything else is at rest, and is not to be thawed.
class AtRest final : public machine::Awake {
  public:
    explicit AtRest(Bytes letter) : letter_(std::move(letter)) {}
    Bytes letter() const override { return letter_; }
    void thaw_kernel() override { was_thawed = true; }
    void thaw_filesystems() override { was_thawed = true; }
    void thaw_processes() override { was_thawed = true; }
    bool was_thawed = false;

  private:
    Bytes letter_;
};

// Of a disk that has all of it on its medium.
Bytes nothing_held(std::uint64_t size) {
    return encode_letter({engine::encode_held_boot({{size, {}}}), {}});
}

// The gate is closed in the image, and a tunnel of the source's is up.
void expect_nobody(const WakeOptions& options, const Bytes& letter, const std::string& why) {
    const test::Outside outside;
    test::ip({"tuntap", "add", "tun0", "mode", "tun"});
    test::ip({"address", "add", "10.66.0.1/30", "dev", "tun0"});
    test::ip({"link", "set", "tun0", "up"});
    machine::EgressGate gate{
        {{machine::find_network_namespaces().front(), ::if_nametoindex("out0"), "out0"}}};
    gate.close();
    test::FrameWatch watch{outside};
    watch.take();
    Participants participants("target", {});
    AtRest awake(letter);
    try {
        wake_up(awake, options, gate, participants);
        ADD_FAILURE() << "it has become somebody";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr(why));
    }
    EXPECT_FALSE(awake.was_thawed);
    EXPECT_THAT(test::ip({"link", "show", "up"}), testing::Not(HasSubstr("tun0")));
    EXPECT_THAT(test::ip({"-o", "address", "show", "dev", "tun0"}), IsEmpty());
    test::send_datagram("10.7.0.2", 9);
    EXPECT_THAT(watch.take(), IsEmpty()) << "the gate was left";
    EXPECT_GT(gate.closed_frames(), 0u);
}

// Runs it where nobody else's links are touched. `disk` is a block device.
void expect_nobody_on(const std::string& disk, const std::string& why,
                      const std::vector<DiskSample>& samples = {}) {
    test::in_own_network([&] { expect_nobody({{disk}, "", {}, samples}, nothing_held(16 * kMiB), why); });
}

class WakingUp : public testing::Test {
  protected:
    static constexpr std::uint64_t kDisk = 16 * kMiB;
    WakingUp() { test::must_run({"sgdisk", "-n", "1:1MiB:+4MiB", disk_}); }
    static void run(const std::vector<std::string>& words) {
        const RunResult result = test::run_dupengine(words);
        EXPECT_EQ(result.status, 0) << result.err;
    }
    // In slot 0. Where it begins.
    std::uint64_t make_profile() const {
        const std::string toml = scratch_.file("profile.toml");
        write_file_atomic(toml, as_bytes("schema = 1\nkind = \"node\"\nnode = \"web-1\"\n"), 0644,
                          Code::kInternal);
        run({"profile", "init", "--store", "partition:" + disk_, "--from", toml});
        return profiles::find_profile_place(*block::open_source(disk_))->extent.begin;
    }

    test::ScratchFolder scratch_;
    const std::string disk_ = scratch_.sparse_file("disk.img", kDisk);
};

TEST_F(WakingUp, OnAnotherDiskThanTheOneThatWasReceivedItIsNobody) {
    const test::LoopDevice loop(disk_);
    expect_nobody_on(loop.path(), "is not the disk that was received", {{0, 4096, {}}});
}

TEST_F(WakingUp, OnADiskOfAnotherSizeOrWithoutWhatMakesItADiskItIsNobody) {
    make_profile();
    const test::LoopDevice loop(disk_);
    const WakeOptions options{{loop.path()}, "", {}, {}};
    for (const Bytes& letter : {nothing_held(kDisk + 512), encode_letter({engine::encode_held_boot({}), {}})})
        test::in_own_network([&] { expect_nobody(options, letter, "is not the disk that was received"); });
    test::in_own_network([&] { expect_nobody(options, Bytes(100), "held boot structures"); });
}

TEST_F(WakingUp, WithoutAProfileItIsNobody) {
    const test::LoopDevice loop(disk_);
    expect_nobody_on(loop.path(), "has no profile partition");
}

TEST_F(WakingUp, WithAProfileOfWhichBothSlotsAreDamagedItIsNobody) {
    const std::uint64_t begin = make_profile();
    run({"profile", "set", "--store", "partition:" + disk_, scratch_.file("profile.toml")});
    const Fd fd = open_path(disk_, O_WRONLY, Code::kInternal);
    for (const std::uint64_t slot : {begin, begin + profiles::kSlotBytes})
        pwrite_exact(fd.get(), slot + 4100, as_bytes("damaged"), Code::kInternal, disk_);
    const test::LoopDevice loop(disk_);
    expect_nobody_on(loop.path(), "slot 0");
}

TEST_F(WakingUp, FromAMediumThatDoesNotGiveTheProfileItIsNobody) {
    const std::uint64_t begin = make_profile();
    const test::FaultyDisk disk(scratch_, disk_, {.sector = begin / 512, .on_read = true});
    expect_nobody_on(disk.path(), "slot 0");
}

TEST_F(WakingUp, FromAMediumThatDoesNotGiveItsTableItIsNobody) {
    make_profile();
    const test::FaultyDisk disk(scratch_, disk_, {.sector = 0, .on_read = true});
    expect_nobody_on(disk.path(), "");
}

}  // namespace
}  // namespace dupengine::cli

// Taking up a role by a system that runs: its root is mounted, its swap space in use, and the kernel
// remembers another disk. This kernel may have no vfat; tests/lab has what needs it.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/subprocess.h"
#include "engine/held_boot.h"
#include "layout/incomplete_mark.h"
#include "profiles/store.h"
#include "profiles/wake.h"
#include "tests/support/fake_system.h"
#include "tests/system/running_disk.h"

namespace dupengine::profiles {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Frozen {
  public:
    explicit Frozen(const std::string& path) : fd_(open_path(path, O_RDONLY | O_DIRECTORY, Code::kInternal)) {
        EXPECT_EQ(::ioctl(fd_.get(), FIFREEZE, 0), 0) << std::strerror(errno);
    }
    ~Frozen() { ::ioctl(fd_.get(), FITHAW, 0); }
    Frozen(const Frozen&) = delete;
    Frozen& operator=(const Frozen&) = delete;

  private:
    Fd fd_;
};

TEST_F(RunningDiskTest, TakesUpItsRoleWhileItsRootIsMountedAndItsSwapInUse) {
    start();
    ASSERT_EQ(::swapon(node(2).c_str(), 0), 0);
    const AssumePlan plan = take_up();
    const std::string uuid = after(plan, IdentifierKind::kFilesystemUuid, 3),
                      swap = after(plan, IdentifierKind::kSwapUuid, 2),
                      fat = after(plan, IdentifierKind::kFatId, 1);
    EXPECT_EQ(text("/etc/hostname"), "web-1\n");
    EXPECT_THAT(text("/etc/fstab"), HasSubstr("UUID=" + uuid + " / ext4"));
    EXPECT_THAT(text("/etc/fstab"), HasSubstr("UUID=" + swap));
    EXPECT_THAT(text("/etc/fstab"), Not(HasSubstr(test::kGoldenRoot)));
    EXPECT_THAT(text("/etc/initramfs-tools/conf.d/resume"), HasSubstr(swap));
    EXPECT_EQ(test::must_run({"blkid", "-p", "-s", "UUID", "-o", "value", node(2)}), swap + "\n");
    {
        RunningSystem again = running();
        EXPECT_TRUE(planned(again, options()).empty());
    }
    stop();
    EXPECT_EQ(test::probed(golden_.path, golden_.root, "UUID"), uuid);
    EXPECT_EQ(test::probed(golden_.path, golden_.swap, "UUID"), swap);
    EXPECT_EQ(test::probed(golden_.path, golden_.esp, "UUID"), fat);
    EXPECT_NE(test::disk_guid(golden_), test::kGoldenDisk);
    EXPECT_EQ(range_digest(128), profile_digest_);
    expect_sound(golden_);
}

TEST_F(RunningDiskTest, WhatItChangedIsUndoneWhenItDoesNotRun) {
    start();
    stop();
    const std::string original = picture(golden_);
    loop_.emplace(golden_.path);
    nodes_.emplace(*loop_);
    mount_root();
    take_up();
    stop();
    EXPECT_NE(picture(golden_), original);
    must_assume(golden_.path, {"--yes", "--undo", "--leave-reference", "/boot/efi"});
    EXPECT_EQ(picture(golden_), original);
    expect_sound(golden_);
}

TEST_F(RunningDiskTest, AUuidThatTheKernelCannotChangeStaysAndIsSaid) {
    start(Seed::kNot);
    const AssumePlan plan = take_up();
    EXPECT_EQ(after(plan, IdentifierKind::kFilesystemUuid, 3), "unchanged");
    EXPECT_THAT(plan.notes, ::testing::Contains(HasSubstr("metadata_csum_seed")));
    EXPECT_THAT(text("/etc/fstab"), HasSubstr("UUID=" + test::kGoldenRoot + " / ext4"));
    EXPECT_EQ(text("/etc/hostname"), "web-1\n");
    stop();
    EXPECT_EQ(test::probed(golden_.path, golden_.root, "UUID"), test::kGoldenRoot);
    EXPECT_NE(test::disk_guid(golden_), test::kGoldenDisk);
    expect_sound(golden_);
}

TEST_F(RunningDiskTest, TheTableIsThatOfTheMediumAndNotTheOneTheKernelRemembers) {
    start();
    // The kernel remembers all of the disk; then the medium gets another GUID beneath it.
    Fd cached = open_path(loop_->path(), O_RDONLY, Code::kInternal);
    std::string remembered(kMiB, '\0'), now(kMiB, '\0');
    pread_exact(cached.get(), 0, std::as_writable_bytes(std::span(remembered)), Code::kInternal, "cached");
    const std::string mine = "12345678-9abc-4def-8123-456789abcdef";
    test::must_run({"sgdisk", "-U", mine, golden_.path});
    pread_exact(cached.get(), 0, std::as_writable_bytes(std::span(now)), Code::kInternal, "cached");
    ASSERT_TRUE(now == remembered) << "nothing stale is cached, so this would prove nothing";

    EXPECT_EQ(disk_identities(running()), std::vector<std::string>{mine});
    const AssumePlan plan = take_up();
    cached = {};
    stop();
    EXPECT_EQ(Guid::parse(test::disk_guid(golden_)).text(), after(plan, IdentifierKind::kDiskGuid, 0));
    expect_sound(golden_);
}

// The ends of a disk as a copy leaves them that waits for somebody to make it a disk.
engine::HeldBoot hold_back(const std::string& disk) {
    const auto medium = block::open_medium(disk);
    const std::uint64_t size = medium->geometry().size_bytes;
    engine::HeldBoot held{size, {{"start of the disk", {}}, {"sector 0", {}}, {"end of the disk", {}}}};
    const block::Extent places[] = {{512, 34 * 512}, {0, 512}, {size - 33 * 512, size}};
    for (std::size_t i = 0; i < 3; ++i)
        held.boot[i].pieces.push_back({places[i].begin, block::read_extent(*medium, places[i])});
    layout::IncompleteMark mark;
    mark.source = "source";
    mark.size_bytes = size;
    const Bytes content = layout::encode_mark(mark, 512);
    const auto target = block::open_disk_in_place(disk, {});
    target->write(places[2].begin, content);
    target->write(places[0].begin, content);
    target->write(0, Bytes(512));
    target->flush();
    return held;
}

TEST_F(RunningDiskTest, NothingStartsFromADiskWhoseTableIsHeldBackUntilTheRoleIsOnIt) {
    start();
    const auto held = engine::decode_held_boot(engine::encode_held_boot({hold_back(loop_->path())}));
    const auto bytes = engine::held_bytes(held.front());
    media_ = block::media_with({{loop_->path(), bytes}});
    const AssumePlan plan = take_up();
    EXPECT_EQ(text("/etc/hostname"), "web-1\n");
    EXPECT_TRUE(layout::find_mark(*block::open_medium(loop_->path()))) << "it would start as the source";
    EXPECT_EQ(run_program({"blkid", "-p", golden_.path}).out, "");

    const engine::HeldBoot changed = engine::with_changes(held.front(), *bytes);
    const auto target = block::open_disk_in_place(
        loop_->path(),
        block::ProtectedRegions::all_except(engine::places_of(changed), changed.size_bytes, "data"));
    engine::write_boot_stages(changed.boot, engine::Verify::kAll, *target);
    media_ = {};
    {
        RunningSystem again = running();
        EXPECT_TRUE(planned(again, options()).empty());
    }
    stop();
    EXPECT_FALSE(layout::find_mark(*block::open_source(golden_.path)));
    EXPECT_EQ(Guid::parse(test::disk_guid(golden_)).text(), after(plan, IdentifierKind::kDiskGuid, 0));
    EXPECT_NE(test::disk_guid(golden_), test::kGoldenDisk);
    EXPECT_EQ(range_digest(128), profile_digest_);
    expect_sound(golden_);
}

TEST_F(RunningDiskTest, ARunThatIsKilledAnywhereIsFinishedWhenTheSystemDoesNotRun) {
    unsigned half_way = 0;
    for (unsigned round = 0; round < 3 || (half_way == 0 && round < 10); ++round) {
        const unsigned milliseconds = 10 * round;
        SCOPED_TRACE(milliseconds);
        start();
        const pid_t child = ::fork();
        if (child == 0) {
            try {
                take_up();
            } catch (...) {
                ::_exit(1);
            }
            ::_exit(0);
        }
        // From when the journal's state is there, the work is begun.
        const std::string state = root_ + "/var/lib/dupengine/assume/state";
        for (int i = 0; i < 60'000 && ::access(state.c_str(), F_OK) != 0; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        stop();
        const std::vector<std::string> how = {"--yes", "--leave-reference", "/boot/efi"};
        half_way += must_assume(golden_.path, how).dump().find("an earlier run was cut") != std::string::npos;
        EXPECT_EQ(must_assume(golden_.path, how)["result"], "nothing to change");
        EXPECT_EQ(test::root_file(golden_, "/etc/hostname"), "web-1\n");
        EXPECT_NE(test::probed(golden_.path, golden_.root, "UUID"), test::kGoldenRoot);
        expect_sound(golden_);
    }
    EXPECT_GT(half_way, 0u) << "no run was killed in its middle, so nothing was shown";
}

TEST_F(RunningDiskTest, WhatCannotBeReadStopsTheRunBeforeAnythingIsChanged) {
    start();
    if (::access("/sys/module/vfat", F_OK) == 0) GTEST_SKIP() << "this kernel reads the ESP";
    RunningSystem system = running();
    ASSERT_EQ(system.unsearchable().size(), 1u);
    EXPECT_EQ(system.unsearchable().front().path, "/boot/efi");
    EXPECT_THROW(planned(system, {}), Error);
}

TEST_F(RunningDiskTest, ARootThatIsMountedReadOnlyIsRefused) {
    start();
    ::umount(root_.c_str());
    mount_root(MS_RDONLY);
    try {
        take_up();
        FAIL() << "it was changed";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("read-only"));
    }
    EXPECT_EQ(text("/etc/hostname"), "golden\n");
    stop();
    EXPECT_EQ(Guid::parse(test::disk_guid(golden_)).text(), test::kGoldenDisk);
}

TEST_F(RunningDiskTest, ARootElsewhereIsRefused) {
    start();
    const test::GoldenDisk other = test::make_golden_disk(folder, "other.img");
    const test::LoopDevice loop(other.path);
    EXPECT_THROW(RunningSystem({loop.path()}, {root_}), Error);
    EXPECT_THROW(RunningSystem({loop_->path(), loop_->path()}, {root_}), Error);
    EXPECT_THROW(RunningSystem({golden_.path}, {root_}), Error) << "an image file is no disk that runs";
}

TEST_F(RunningDiskTest, WhatIsMountedAboveAFolderDoesNotHideTheRootsOwn) {
    start();
    ASSERT_EQ(::mount("none", (root_ + "/etc/ssh").c_str(), "tmpfs", 0, nullptr), 0);
    {
        RunningSystem system = running();
        EXPECT_EQ(system.tree().list("/etc/ssh"), std::vector<std::string>{"ssh_host_rsa_key"});
        for (const Unsearchable& part : system.unsearchable())
            EXPECT_NE(part.path, "/etc/ssh");  // it is gone at the next start
    }
    ::umount((root_ + "/etc/ssh").c_str());
    // A part of the same file system may be what the programs see there at every start.
    ASSERT_EQ(::mount((root_ + "/srv").c_str(), (root_ + "/etc/ssh").c_str(), nullptr, MS_BIND, nullptr), 0);
    EXPECT_THAT(running().unsearchable(),
                ::testing::Contains(::testing::Field(&Unsearchable::path, "/etc/ssh")));
    ::umount((root_ + "/etc/ssh").c_str());
}

TEST_F(RunningDiskTest, ADuplicateWakesUpAsTheNodeThatItsOwnDiskSays) {
    start();
    const WakeRequest request{{loop_->path()}, "", {}, {"/boot/efi"}, root_};
    WakeRole role;
    {
        // As it is at that moment: whoever writes now, waits for ever.
        const Frozen frozen(root_);
        const std::string before = test::file_sha256(golden_.path);
        role = read_wake_role(request);
        EXPECT_EQ(test::file_sha256(golden_.path), before);
    }
    EXPECT_EQ(role.profile.node, "web-1");

    SystemRandom random;
    const WakeReport report = take_up_role(request, role, random);
    EXPECT_EQ(report.node, "web-1");
    EXPECT_EQ(report.host_name, "web-1");
    std::array<char, 65> name{};
    ASSERT_EQ(::gethostname(name.data(), name.size()), 0);
    EXPECT_STREQ(name.data(), "web-1");
    EXPECT_EQ(text("/etc/hostname"), "web-1\n");
    EXPECT_THAT(report.changes, Not(IsEmpty()));
    EXPECT_THAT(report.notes, ::testing::Contains(HasSubstr("in memory until they start again")));
    EXPECT_THAT(report.calls, ::testing::Contains(
                                  ::testing::ElementsAre("systemctl", "--no-block", "start", "web.service")));
    EXPECT_THAT(take_up_role(request, role, random).changes, IsEmpty());
}

class SourceThatIsAsked : public RunningDiskTest {
  protected:
    std::string refusal() {
        try {
            refuse_if_it_could_not_wake({loop_->path()}, root_);
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused) << e.what();
            return e.what();
        }
        return "";
    }
    // Not every kernel here reads an ESP.
    void forget_esp() {
        test::must_run({"sed", "-i", "/efi/d", root_ + "/etc/fstab"});
        test::must_run({"sgdisk", "-t", "1:8300", golden_.path});
    }
};

TEST_F(SourceThatIsAsked, IsNotChangedAndCanBeDuplicated) {
    start();
    forget_esp();
    test::must_run({"sync", "-f", root_});
    const Frozen frozen(root_);
    const std::string before = test::file_sha256(golden_.path);
    EXPECT_EQ(refusal(), "");
    EXPECT_EQ(test::file_sha256(golden_.path), before);
}

TEST_F(SourceThatIsAsked, IsRefusedIfNobodyCouldReadItsBootFolderThere) {
    start();
    if (::access("/sys/module/vfat", F_OK) == 0) GTEST_SKIP() << "this kernel reads the ESP";
    EXPECT_THAT(refusal(), HasSubstr("could not become anybody else: /boot/efi is partition 1"));
}

TEST_F(SourceThatIsAsked, IsRefusedIfItsRootIsReadOnly) {
    start();
    forget_esp();
    ::umount(root_.c_str());
    mount_root(MS_RDONLY);
    EXPECT_THAT(refusal(), HasSubstr("/ is mounted read-only"));
}

TEST_F(SourceThatIsAsked, IsRefusedIfItsRootIsOnNoPartitionOfTheDisk) {
    start();
    ::umount2(root_.c_str(), MNT_DETACH);
    ASSERT_EQ(::mount("none", root_.c_str(), "tmpfs", 0, nullptr), 0);
    EXPECT_THAT(refusal(), HasSubstr("is on no partition of"));
}

TEST_F(SourceThatIsAsked, IsRefusedIfItsRootIsOnAnotherDevice) {
    start();
    ::umount2(root_.c_str(), MNT_DETACH);
    const std::string volume = folder.sparse_file("volume.img", 64 * kMiB);
    test::must_run({"mkfs.ext4", "-q", volume});
    const test::LoopDevice above(volume);  // as a logical volume or an open container would be
    ASSERT_EQ(::mount(above.path().c_str(), root_.c_str(), "ext4", 0, nullptr), 0);
    EXPECT_THAT(refusal(), HasSubstr("is on no partition of"));
    ::umount2(root_.c_str(), MNT_DETACH);
}

TEST_F(RunningDiskTest, WithoutAProfileOfItsOwnADuplicateIsNobody) {
    start();
    test::must_run({"sgdisk", "-t", "128:8300", golden_.path});
    EXPECT_THROW(read_wake_role({{loop_->path()}, "", {}, {}, root_}), Error);
    test::must_run({"sgdisk", "-t", "128:d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972", golden_.path});
    EXPECT_NO_THROW(read_wake_role({{loop_->path()}, "", {}, {}, root_}));
    // What is in a file came along from the source.
    const RunResult made = test::run_dupengine({"profile", "init", "--store", "file:" + folder.file("store"),
                                                "--from", folder.file("profile.toml")});
    ASSERT_EQ(made.status, 0) << made.err;
    EXPECT_THROW(read_wake_role({{loop_->path()}, "file:" + folder.file("store"), {}, {}, root_}), Error);
    EXPECT_EQ(text("/etc/hostname"), "golden\n");
}

// What was stored by a program that knows more, or is none at all.
TEST_F(RunningDiskTest, WithAProfileThatItDoesNotUnderstandADuplicateIsNobody) {
    start();
    const auto store = open_store("partition:" + loop_->path());
    StoredProfile stored = store->read();
    for (const char* profile : {"schema = 2\nkind = \"node\"\nnode = \"web-1\"\n",
                                "schema = 1\nkind = \"role\"\nrole = \"web\"\n", "schema = ", ""}) {
        SCOPED_TRACE(profile);
        ++stored.generation;
        stored.text = profile;
        store->write(stored);
        try {
            read_wake_role({{loop_->path()}, "", {}, {}, root_});
            ADD_FAILURE() << "it has become somebody";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), Code::kRefused) << e.what();
        }
        EXPECT_EQ(text("/etc/hostname"), "golden\n");
    }
}

}  // namespace
}  // namespace dupengine::profiles

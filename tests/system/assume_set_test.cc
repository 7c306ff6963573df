// `dupengine assume` on the disks of one machine together: the root is on one, /home, swap and another EFI
// system partition on the other, and each speaks of the other.

#include <strings.h>

#include "base/random.h"
#include "tests/support/disk_image.h"
#include "tests/support/fake_system.h"
#include "tests/support/killed_run.h"
#include "tests/support/lvm_disk.h"
#include "tests/system/assume_disk.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::GoldenDisk;
using test::must_run;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kSwapOfData = "bbbbbbbb-9999-4222-8222-bbbbbbbbbbbb";
constexpr block::Extent kHome{1 << 20, 17 << 20}, kSwap{17 << 20, 25 << 20}, kEsp{25 << 20, 41 << 20},
    kVault{41 << 20, 53 << 20};

struct AssumeSetDisks : AssumeDisk {
    GoldenDisk system;
    std::string data = folder.file("data.img");

    void SetUp() override {
        test::GoldenRecipe recipe;
        recipe.size_bytes = 120 << 20;
        recipe.extra_files = 30;
        recipe.files = {
            {"/etc/fstab",
             fmt::format(
                 "UUID={} / ext4 errors=remount-ro 0 1\nUUID={} /boot/efi vfat umask=0077 0 1\nUUID={} "
                 "none swap sw 0 0\nUUID={} /home ext4 defaults 0 2\nUUID={} none swap sw 0 0\n",
                 test::kGoldenRoot, test::kGoldenEsp, test::kGoldenSwap, test::kGoldenHome, kSwapOfData)},
            {"/etc/crypttab", "vault PARTUUID=" + test::kGoldenVaultPart + " none luks\n"}};
        system = test::make_golden_disk(folder, "system.img", recipe);
        make_data_disk();
    }

    void lay(const std::string& image, block::Extent place) const {
        must_run({"dd", "if=" + image, "of=" + data, "bs=1M", fmt::format("seek={}", place.begin >> 20),
                  "conv=notrunc,sparse", "status=none"});
    }
    void make_data_disk() const {
        folder.sparse_file("data.img", 60 << 20);
        must_run({"sgdisk",
                  "-n",
                  "1:1M:+16M",
                  "-t",
                  "1:8302",
                  "-n",
                  "2:0:+8M",
                  "-t",
                  "2:8200",
                  "-n",
                  "3:0:+16M",
                  "-t",
                  "3:ef00",
                  "-n",
                  "4:0:+12M",
                  "-t",
                  "4:8e00",
                  "-u",
                  "4:" + test::kGoldenVaultPart,
                  data});
        std::filesystem::create_directories(folder.file("home/ops"));
        const std::string home = folder.sparse_file("home.img", kHome.size());
        must_run({"mke2fs", "-q", "-t", "ext4", "-U", test::kGoldenHome, "-d", folder.file("home"), home});
        lay(home, kHome);
        const std::string swap = folder.sparse_file("swap2.img", kSwap.size());
        must_run({"mkswap", "-q", "-U", kSwapOfData, swap});
        lay(swap, kSwap);
        const std::string esp = folder.sparse_file("esp2.img", kEsp.size());
        must_run({"mkfs.fat", "-F", "16", "-i", "c0de0002", esp});
        write_file_atomic(folder.file("grub.cfg"),
                          as_bytes("search.fs_uuid " + test::kGoldenRoot + " root hd0,gpt3\n"), 0644,
                          Code::kInternal);
        must_run({"mcopy", "-i", esp, folder.file("grub.cfg"), "::/"});
        lay(esp, kEsp);
    }
    void init_profile(const std::string& disk, const std::string& node = "web-1") const {
        std::string text = kProfile;
        text.replace(text.find("web-1"), 5, node);
        write_file_atomic(folder.file("profile.toml"), as_bytes(text), 0644, Code::kInternal);
        const RunResult init = test::run_dupengine(
            {"profile", "init", "--store", "partition:" + disk, "--from", folder.file("profile.toml")});
        EXPECT_EQ(init.status, 0) << init.err;
    }
    RunResult take_up(const std::vector<std::string>& disks,
                      std::vector<std::string> more = {"--yes"}) const {
        std::vector<std::string> argv = {"assume", "--json"};
        for (const std::string& disk : disks)
            argv.insert(argv.end(), {"--disk", disk});
        argv.insert(argv.end(), more.begin(), more.end());
        return test::run_dupengine(argv);
    }
    std::string result_of(const std::vector<std::string>& disks,
                          std::vector<std::string> more = {"--yes"}) const {
        const RunResult run = take_up(disks, std::move(more));
        EXPECT_EQ(run.status, 0) << run.err;
        return json::parse(run.out, nullptr, false).value("result", "");
    }
    std::vector<std::string> both() const { return {system.path, data}; }

    static std::vector<std::string> data_identifiers(const std::string& disk) {
        const GoldenDisk whole{disk, {}, {}, {}, {}, {}};
        std::vector<std::string> all = {test::disk_guid(whole)};
        for (const block::Extent place : {kHome, kSwap, kEsp})
            all.push_back(test::probed(disk, place, "UUID"));
        for (const unsigned number : {1u, 2u, 3u, 4u})
            all.push_back(test::partition_guid(whole, number));
        return all;
    }
    std::vector<std::string> system_identifiers(const GoldenDisk& golden) const {
        std::vector<std::string> all = {test::disk_guid(golden)};
        for (const block::Extent place : {golden.esp, golden.swap, golden.root})
            all.push_back(test::probed(golden.path, place, "UUID"));
        for (const unsigned number : {1u, 2u, 3u})
            all.push_back(test::partition_guid(golden, number));
        return all;
    }
    std::string data_file(const std::string& disk, const std::string& path) const {
        return must_run({"debugfs", "-R", "cat " + path, fmt::format("{}?offset={}", disk, kHome.begin)});
    }
    std::string data_loader(const std::string& disk) const {
        return must_run({"mtype", "-i", fmt::format("{}@@{}", disk, kEsp.begin), "::/grub.cfg"});
    }
    void expect_sound_data(const std::string& disk) {
        const std::string part = folder.file("part.img");
        test::extract_range(disk, kHome, part);
        EXPECT_EQ(run_program({"e2fsck", "-fn", part}).status, 0);
        test::extract_range(disk, kEsp, part);
        EXPECT_EQ(run_program({"fsck.fat", "-n", part}).status, 0);
        EXPECT_THAT(must_run({"sgdisk", "-v", disk}), HasSubstr("No problems found"));
    }
    std::string picture_of_both() {
        std::string all = picture(system);
        const std::string part = folder.file("part.img");
        test::extract_range(data, kHome, part);
        all += " " + test::ext_tree_digest(folder, part);
        test::extract_range(data, kEsp, part);
        all += " " + test::fat_tree_digest(folder, part);
        for (const std::string& identifier : data_identifiers(data))
            all += " " + identifier;
        return all;
    }
    std::string digest_of_both() const { return test::file_sha256(system.path) + test::file_sha256(data); }
};

// Both sources, both copies: what udev or GRUB would find for each reference on the copies is one partition
// of the copies.
TEST_F(AssumeSetDisks, CopiesOfBothShareNoIdentifierWithTheirSourcesAndEveryReferenceIsResolved) {
    GoldenDisk copy = system;
    copy.path = folder.sparse_file("system-copy.img", 130 << 20);
    const std::string data_copy = folder.sparse_file("data-copy.img", 60 << 20);
    init_profile(copy.path);
    const RunResult copied = test::run_dupengine(
        {"copy", "--yes", "--map", system.path + "=" + copy.path, "--map", data + "=" + data_copy});
    ASSERT_EQ(copied.status, 0) << copied.err;
    const std::string sources = digest_of_both();
    EXPECT_EQ(result_of({data_copy, copy.path}), "role taken up");
    expect_sound(copy);
    expect_sound_data(data_copy);
    EXPECT_EQ(digest_of_both(), sources);

    std::vector<std::string> mine = system_identifiers(copy), all = system_identifiers(system);
    for (const std::string& identifier : data_identifiers(data_copy))
        mine.push_back(identifier);
    for (const std::string& identifier : data_identifiers(data))
        all.push_back(identifier);
    all.insert(all.end(), mine.begin(), mine.end());
    EXPECT_EQ(all.size(), 30u);
    for (const std::string& identifier : all)
        EXPECT_EQ(std::count(all.begin(), all.end(), identifier), 1) << identifier;

    const auto uuid = [](const std::string& disk, block::Extent place) {
        return test::probed(disk, place, "UUID");
    };
    EXPECT_EQ(
        test::root_file(copy, "/etc/fstab"),
        fmt::format("UUID={} / ext4 errors=remount-ro 0 1\nUUID={} /boot/efi vfat umask=0077 0 1\nUUID={} "
                    "none swap sw 0 0\nUUID={} /home ext4 defaults 0 2\nUUID={} none swap sw 0 0\n",
                    uuid(copy.path, copy.root), uuid(copy.path, copy.esp), uuid(copy.path, copy.swap),
                    uuid(data_copy, kHome), uuid(data_copy, kSwap)));
    const std::string vault = test::partition_guid({data_copy, {}, {}, {}, {}, {}}, 4);
    EXPECT_TRUE(strcasecmp(test::root_file(copy, "/etc/crypttab").c_str(),
                           ("vault PARTUUID=" + vault + " none luks\n").c_str()) == 0)
        << test::root_file(copy, "/etc/crypttab");
    EXPECT_EQ(data_loader(data_copy), "search.fs_uuid " + uuid(copy.path, copy.root) + " root hd0,gpt3\n");
    // A file of the role whose place is on the other disk.
    EXPECT_THAT(data_file(data_copy, "/ops/.ssh/authorized_keys"), HasSubstr(" ops"));
    EXPECT_EQ(result_of({copy.path, data_copy}), "nothing to change");
}

TEST_F(AssumeSetDisks, APlanWritesNothingAndSaysOfWhichDiskItSpeaks) {
    init_profile(data);  // it is read from whichever disk has it
    const std::string before = digest_of_both();
    const RunResult planned = take_up(both(), {"--plan"});
    ASSERT_EQ(planned.status, 0) << planned.err;
    EXPECT_THAT(planned.out,
                AllOf(HasSubstr("partition 1 (ext4) of " + data), HasSubstr("table of " + system.path)));
    EXPECT_EQ(digest_of_both(), before);
}

TEST_F(AssumeSetDisks, UndoBringsBackBothDisksInWhateverOrderTheyAreGiven) {
    init_profile(system.path);
    const std::string before = picture_of_both();
    EXPECT_EQ(result_of(both()), "role taken up");
    EXPECT_NE(picture_of_both(), before);
    EXPECT_EQ(result_of({data, system.path}, {"--yes", "--undo"}), "undone");
    EXPECT_EQ(picture_of_both(), before);
    expect_sound_data(data);
}

TEST_F(AssumeSetDisks, WithoutOneOfThemNothingIsWrittenAndItIsNamed) {
    init_profile(system.path);
    EXPECT_EQ(result_of(both()), "role taken up");
    const std::string taken_up = digest_of_both();
    for (const std::vector<std::string>& how :
         {std::vector<std::string>{"--yes"}, {"--yes", "--undo"}, {"--plan"}}) {
        const RunResult refused = take_up({system.path}, how);
        EXPECT_EQ(refused.status, 3) << how.back();
        EXPECT_THAT(refused.err, HasSubstr("taken up together with " + data));
    }
    EXPECT_EQ(digest_of_both(), taken_up);
}

TEST_F(AssumeSetDisks, WhatCouldMeanTwoDisksIsRefusedBeforeTheFirstWrite) {
    init_profile(system.path);
    const std::string twin = folder.file("twin.img"), link = folder.file("link.img");
    const auto expect_refusal = [&](const std::vector<std::string>& disks, const std::string& reason,
                                    std::vector<std::string> more = {"--yes"}) {
        const std::string before = digest_of_both();
        const RunResult refused = take_up(disks, std::move(more));
        EXPECT_EQ(refused.status, 3) << refused.err;
        EXPECT_THAT(refused.err, HasSubstr(reason));
        EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
        EXPECT_EQ(digest_of_both(), before);
    };
    must_run({"cp", "--sparse=always", data, twin});
    std::filesystem::create_hard_link(data, link);
    expect_refusal({system.path, data, twin}, "carry the same disk identifier");
    expect_refusal({system.path, data, link}, "are the same storage");
    expect_refusal({data}, "no profile");
    // Another disk, but its file systems were copied one by one.
    must_run({"sgdisk", "-G", twin});
    expect_refusal({system.path, data, twin}, "carry the same identifier " + test::kGoldenHome);
    std::filesystem::remove(twin);
    // Two systems.
    must_run({"cp", "--sparse=always", system.path, twin});
    must_run({"sgdisk", "-G", twin});
    expect_refusal({system.path, twin}, fmt::format("the partitions {}:3, {}:3; name it", system.path, twin));
    expect_refusal({system.path, data}, "'3' names 2 partitions", {"--yes", "--root-partition", "3"});
    expect_refusal({system.path, data}, "is no ext2, ext3, ext4 or XFS file system",
                   {"--yes", "--root-partition", data + ":2"});
    EXPECT_EQ(result_of(both(), {"--plan", "--root-partition", system.path + ":3"}), "planned");
    init_profile(data, "web-2");
    expect_refusal(both(), "hold different profiles");
}

// tune2fs does nothing when it is called for the first time (the root), or the second time (/home).
TEST_F(AssumeSetDisks, ARunThatStoppedBetweenTheDisksIsGoneOnWithBothOrNotAtAll) {
    init_profile(system.path);
    const std::string before = picture_of_both(), count = folder.file("calls");
    for (const char* call : {"1", "2"}) {
        SCOPED_TRACE(call);
        std::filesystem::remove(count);
        write_file_atomic(
            folder.file("tune2fs"),
            as_bytes(fmt::format("#!/bin/sh\ncase \"$1\" in -U) echo >> {0}; [ $(wc -l < {0}) != {1} ] "
                                 "|| exit 9;; esac\nexec /usr/sbin/tune2fs \"$@\"\n",
                                 count, call)),
            0755, Code::kInternal);
        const RunResult cut =
            run_program({"env", "PATH=" + folder.path() + ":/usr/sbin:/usr/bin:/sbin:/bin", test::command(),
                         "assume", "--yes", "--disk", system.path, "--disk", data});
        EXPECT_THAT(cut.err, HasSubstr("stopped half-way")) << cut.status;
        EXPECT_EQ(test::probed(data, kHome, "UUID"), test::kGoldenHome);
        if (*call == '2') {
            EXPECT_NE(test::probed(system.path, system.root, "UUID"), test::kGoldenRoot);
            const std::string left = digest_of_both();
            for (const char* how : {"--yes", "--plan", "--undo"}) {
                const RunResult refused = take_up({system.path}, {"--yes", how});
                EXPECT_EQ(refused.status, 3) << how;
                EXPECT_THAT(refused.err, HasSubstr("was changing " + data + " (disk identifier"));
            }
            EXPECT_EQ(digest_of_both(), left);
        }
        EXPECT_EQ(result_of({data, system.path}), "nothing to change");  // it was finished first
        EXPECT_NE(test::probed(data, kHome, "UUID"), test::kGoldenHome);
        EXPECT_THAT(test::root_file(system, "/etc/fstab"), HasSubstr(test::probed(data, kHome, "UUID")));
        expect_sound(system);
        expect_sound_data(data);
        EXPECT_EQ(result_of(both(), {"--yes", "--undo"}), "undone");
        EXPECT_EQ(picture_of_both(), before);
    }
}

TEST_F(AssumeSetDisks, AKilledRunOverBothIsFinishedOrUndoneByTheNext) {
    init_profile(system.path);
    const std::string before = picture_of_both(), spare = folder.file("spare.img"),
                      spare_data = folder.file("spare-data.img");
    must_run({"cp", "--sparse=always", system.path, spare});
    must_run({"cp", "--sparse=always", data, spare_data});
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(result_of(both()), "role taken up");
    auto whole =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
    const std::string seed = std::getenv("DUPENGINE_SEED") != nullptr ? std::getenv("DUPENGINE_SEED") : "1";
    SeededRandom random(std::stoull(seed));
    unsigned killed = 0;
    for (unsigned round = 0; round < 4 || (killed == 0 && round < 12); ++round) {
        SCOPED_TRACE(fmt::format("round {} of DUPENGINE_SEED={}", round, seed));
        must_run({"cp", "--sparse=always", spare, system.path});
        must_run({"cp", "--sparse=always", spare_data, data});
        // The second half: the first one only plans.
        const auto half = static_cast<std::uint64_t>(whole.count()) / 2;
        const bool was_through =
            test::run_and_kill({"assume", "--yes", "--disk", data, "--disk", system.path},
                               std::chrono::microseconds(half + random.below(half)));
        killed += was_through ? 0 : 1;
        if (was_through) whole = whole * 3 / 4;  // the first run had less of the machine
        if (round % 2 == 0) {
            result_of({data, system.path});
            EXPECT_EQ(result_of(both()), "nothing to change");
            expect_sound(system);
            expect_sound_data(data);
            EXPECT_NE(test::probed(data, kHome, "UUID"), test::kGoldenHome);
        }
        const RunResult undone = take_up(both(), {"--yes", "--undo"});
        if (undone.status != 0) {
            EXPECT_THAT(undone.err, HasSubstr("nothing to undo"));
        }
        EXPECT_EQ(picture_of_both(), before);
        if (HasFailure()) return;
    }
    EXPECT_GT(killed, 0u) << "every run was through before it could be killed";
}

// Its physical volumes keep their identifiers, and with them the group on both disks its name.
TEST_F(AssumeSetDisks, AVolumeGroupOnTwoDisksIsRenamedOnNeither) {
    init_profile(system.path);
    const std::string more = folder.sparse_file("more.img", 16 << 20);
    must_run({"sgdisk", "-n", "1:1M:+12M", "-t", "1:8e00", more});
    const test::LoopDevice::Options in_data{.offset_bytes = kVault.begin, .size_bytes = kVault.size()},
        in_more{.offset_bytes = 1 << 20, .size_bytes = 12 << 20};
    const auto ask = [&](std::vector<std::string> command) {
        const test::LoopDevice a(data, in_data), b(more, in_more);
        if (command.back() == "DEVICES") {
            command.pop_back();
            command.insert(command.end(), {a.path(), b.path()});
        }
        const RunResult result = test::run_lvm({a.path(), b.path()}, command);
        EXPECT_EQ(result.status, 0) << result.complaint();
        return result.out;
    };
    ask({"pvcreate", "-y", "DEVICES"});
    ask({"vgcreate", "-y", "-s", "1M", "vg0", "DEVICES"});
    const std::vector<std::string> uuids = {"pvs", "--noheadings", "-o", "vg_uuid,pv_uuid", "-O", "pv_uuid"};
    const std::string before = ask(uuids);
    const RunResult taken_up = take_up({system.path, data, more});
    ASSERT_EQ(taken_up.status, 0) << taken_up.err;
    EXPECT_THAT(taken_up.out,
                AllOf(HasSubstr("partition 4 (LVM2_member) of " + data + ": changing the UUID"),
                      HasSubstr("partition 1 (LVM2_member) of " + more + ": changing the UUID")));
    EXPECT_EQ(ask(uuids), before);
    ask({"vgck", "vg0"});
}

}  // namespace
}  // namespace dupengine

// The verb `profile` on raw images and loop devices, held against sgdisk, blkid and a compare of all other
// bytes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n# exactly as it is\n";
constexpr const char* kOther = "schema = 1\nkind = \"node\"\nnode = \"web-2\"\nroles = [\"base\", \"web\"]\n";
constexpr std::uint64_t kDisk = 64 * kMiB;

class ProfileVerb : public ::testing::Test {
  protected:
    ProfileVerb() {
        write("node.toml", kNode);
        write("other.toml", kOther);
    }
    void write(const std::string& name, const std::string& text) {
        write_file_atomic(scratch_.file(name), as_bytes(text), 0644, Code::kInternal);
    }
    std::string toml(const char* name = "node.toml") { return scratch_.file(name); }

    // A disk with a GPT of sgdisk's and bytes of somebody in every other place.
    std::string disk(const std::string& last_end = "40MiB") {
        const std::string path = scratch_.sparse_file("disk.img", kDisk);
        const Fd fd = open_path(path, O_RDWR, Code::kInternal);
        SeededRandom random(8);
        Bytes block(kMiB);
        random.fill(block);
        for (ByteOffset at = 0; at < kDisk; at += kMiB) {
            store_le<std::uint64_t>(block, 8, at);  // no two MiB are the same
            pwrite_exact(fd.get(), at, block, Code::kInternal, path);
        }
        test::must_run({"sgdisk", "--zap-all", path});
        test::must_run({"sgdisk", "-n", "1:1MiB:10MiB", "-n", "2:11MiB:" + last_end, "-c", "2:root", path});
        return path;
    }
    std::string bytes(const std::string& path, ByteOffset begin, ByteOffset end) {
        const Fd fd = open_path(path, O_RDONLY, Code::kInternal);
        std::string content(end - begin, '\0');
        pread_exact(fd.get(), begin, std::as_writable_bytes(std::span(content)), Code::kInternal, path);
        return content;
    }

    static RunResult profile(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "profile");
        return test::run_dupengine(arguments);
    }
    static void must(const std::vector<std::string>& arguments) {
        const RunResult result = profile(arguments);
        EXPECT_EQ(result.status, 0) << result.err;
    }
    // Refused, with the reason in one line and not a byte of the disk changed.
    void refused(const std::string& path, const std::vector<std::string>& arguments,
                 const std::string& reason) {
        const std::string before = test::file_sha256(path);
        const RunResult result = profile(arguments);
        EXPECT_EQ(result.status, 3) << result.out << result.err;
        EXPECT_THAT(result.err, HasSubstr(reason));
        EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
        EXPECT_EQ(test::file_sha256(path), before);
    }
    static std::string shown(const std::string& store) {
        const RunResult result = profile({"show", "--store", store});
        EXPECT_EQ(result.status, 0) << result.err;
        return result.out.substr(std::min(result.out.size(), result.out.find('\n') + 1));
    }

    test::ScratchFolder scratch_;
};

TEST_F(ProfileVerb, MakesAPartitionThatSgdiskLikesAndTouchesNoByteOfTheOthers) {
    const std::string path = disk();
    const std::string table = bytes(path, 0, kMiB), others = bytes(path, kMiB, 59 * kMiB);
    must({"init", "--store", "partition:" + path, "--from", toml()});
    EXPECT_THAT(test::must_run({"sgdisk", "-v", path}), HasSubstr("No problems found"));
    EXPECT_THAT(test::must_run({"sgdisk", "-i", "128", path}),
                AllOf(HasSubstr("D0B2E641-5C1F-4F0A-9D43-7A6B8C15E972"),
                      HasSubstr("Partition name: 'dupengine-profile'"),
                      HasSubstr("Attribute flags: 8000000000000001"), HasSubstr("First sector: 120832 ")));
    EXPECT_THAT(test::must_run({"sgdisk", "-i", "2", path}), HasSubstr("Partition name: 'root'"));
    EXPECT_EQ(bytes(path, kMiB, 59 * kMiB), others);
    EXPECT_NE(bytes(path, 0, kMiB), table);
    EXPECT_EQ(shown("partition:" + path), kNode);
}

TEST_F(ProfileVerb, TheKernelHearsOfTheNewPartition) {
    const std::string path = scratch_.sparse_file("disk.img", kDisk);
    std::string loop = test::must_run({"losetup", "--find", "--show", "--partscan", path});
    loop.pop_back();
    const std::string seen = "/sys/class/block/" + loop.substr(5) + "p7/size";
    EXPECT_EQ(profile({"init", "--store", "partition:" + loop, "--number", "7"}).status, 0);
    EXPECT_TRUE(std::filesystem::exists(seen)) << "no device for the profile's partition";
    run_program({"losetup", "--detach", loop});
}

TEST_F(ProfileVerb, WorksOnDisksOfBothSectorSizes) {
    for (std::uint32_t sector : {512u, 4096u}) {
        const std::string path = scratch_.sparse_file("disk.img", kDisk);
        test::LoopDevice::Options options;
        options.sector_bytes = sector;
        const test::LoopDevice loop(path, options);
        test::must_run({"sgdisk", "-n", "1:1MiB:10MiB", loop.path()});
        const std::string store = "partition:" + loop.path();
        must({"init", "--store", store, "--from", toml(), "--size", "2MiB", "--number", "9"});
        EXPECT_THAT(test::must_run({"sgdisk", "-v", loop.path()}), HasSubstr("No problems found"));
        EXPECT_THAT(test::must_run({"sgdisk", "-i", "9", loop.path()}),
                    HasSubstr("Partition size: " + std::to_string(2 * kMiB / sector)));
        must({"set", "--store", store, toml("other.toml")});
        EXPECT_EQ(shown(store), kOther);
        // The image of such a disk is the same disk.
        EXPECT_EQ(shown("partition:" + path), kOther);
    }
}

TEST_F(ProfileVerb, GivesABlankDiskItsFirstTable) {
    const std::string path = scratch_.sparse_file("disk.img", kDisk);
    must({"init", "--store", "partition:" + path});
    EXPECT_THAT(test::must_run({"sgdisk", "-v", path}), HasSubstr("No problems found"));
    EXPECT_THAT(profile({"show", "--store", "partition:" + path}).err, HasSubstr("holds no profile yet"));
    must({"set", "--store", "partition:" + path, toml()});
    EXPECT_EQ(shown("partition:" + path), kNode);
}

TEST_F(ProfileVerb, RefusesWhatCouldHoldSomebodysData) {
    const auto init = [](const std::string& path) {
        return std::vector<std::string>{"init", "--store", "partition:" + path};
    };
    const std::string ext = scratch_.sparse_file("ext.img", kDisk);
    test::must_run({"mke2fs", "-q", "-t", "ext4", ext});
    refused(ext, init(ext), "holds ext4 without a partition table");
    const std::string noise = scratch_.file("noise.img");
    write("noise.img", bytes(disk(), 2 * kMiB, 9 * kMiB));
    refused(noise, init(noise), "is not blank");
    const std::string mbr = scratch_.sparse_file("mbr.img", kDisk);
    RunOptions script;
    script.input = "label: dos\n1MiB,10MiB,L\n";
    test::must_run({"sfdisk", "-q", mbr}, script);
    refused(mbr, init(mbr), "has an MBR");
    refused(mbr, init(mbr), "(sgdisk --mbrtogpt), or keep the profile elsewhere (--store file:PATH)");
    const std::string full = disk("62MiB");
    refused(full, init(full), "partition 2 'root' reaches to byte");
    const std::string damaged = disk();
    {
        const Fd fd = open_path(damaged, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), 520, Bytes(8), Code::kInternal, damaged);
    }
    refused(damaged, init(damaged), "damaged");
}

TEST_F(ProfileVerb, NeverReplacesAProfileThatCanBeRead) {
    const std::string path = disk();
    must({"init", "--store", "partition:" + path, "--from", toml()});
    refused(path, {"init", "--store", "partition:" + path}, "there is a profile already");
    refused(path, {"init", "--store", "partition:" + path, "--replace-damaged"},
            "there is a profile already");
}

TEST_F(ProfileVerb, OnlyShowsThePlanOfADryRun) {
    const std::string path = disk();
    const std::string before = test::file_sha256(path);
    const RunResult result = profile({"init", "--store", "partition:" + path, "--dry-run", "--json"});
    EXPECT_EQ(result.status, 0) << result.err;
    const json plan = json::parse(result.out);
    EXPECT_EQ(plan["result"], "planned");
    EXPECT_EQ(plan["partition"]["number"], 128);
    EXPECT_EQ(plan["partition"]["begin"], 59 * kMiB);
    EXPECT_EQ(test::file_sha256(path), before);
    EXPECT_EQ(profile({"init", "--store", "file:" + scratch_.file("store"), "--dry-run"}).status, 0);
    EXPECT_FALSE(std::filesystem::exists(scratch_.file("store")));
}

TEST_F(ProfileVerb, SetChangesNothingButTheOtherSlot) {
    const std::string path = disk();
    const std::string store = "partition:" + path;
    must({"init", "--store", store, "--from", toml()});
    const std::string before = bytes(path, 0, 60 * kMiB), after = bytes(path, 61 * kMiB, kDisk);
    const RunResult result = profile({"set", "--store", store, toml("other.toml"), "--json"});
    EXPECT_EQ(json::parse(result.out)["generation"], 2);
    EXPECT_EQ(bytes(path, 0, 60 * kMiB), before) << "slot 0 and the rest of the disk";
    EXPECT_EQ(bytes(path, 61 * kMiB, kDisk), after);
    EXPECT_EQ(shown(store), kOther);
}

TEST_F(ProfileVerb, SetRefusesABadProfileAndAnOldGeneration) {
    const std::string path = disk();
    const std::string store = "partition:" + path;
    must({"init", "--store", store, "--from", toml()});
    write("bad.toml", std::string(kNode) + "[identity]\nhostnam = \"x\"\n");
    const std::string before = test::file_sha256(path);
    const RunResult bad = profile({"set", "--store", store, toml("bad.toml")});
    EXPECT_EQ(bad.status, 2);
    EXPECT_THAT(bad.err,
                HasSubstr("bad.toml:6:1: unknown key 'hostnam' in [identity]; did you mean 'hostname'?"));
    EXPECT_EQ(test::file_sha256(path), before);
    write("old.toml", std::string("generation = 1\n") + kNode);
    refused(path, {"set", "--store", store, toml("old.toml")}, "generation 1 is not larger than 1");
}

TEST_F(ProfileVerb, TakesTheOlderCopyIfTheNewerIsDamagedAndGivesUpOnlyWhenTold) {
    const std::string path = disk();
    const std::string store = "partition:" + path;
    must({"init", "--store", store, "--from", toml()});
    must({"set", "--store", store, toml("other.toml")});
    const auto damage = [&](ByteOffset at) {
        const Fd fd = open_path(path, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), at, as_bytes("oops"), Code::kInternal, path);
    };
    damage(60 * kMiB + 4128);
    const RunResult older = profile({"show", "--store", store});
    EXPECT_EQ(older.status, 0);
    EXPECT_THAT(older.out, HasSubstr(kNode));
    EXPECT_THAT(older.err, HasSubstr("slot 1 cannot be used (bad checksum of its content)"));
    damage(59 * kMiB + 24);
    EXPECT_EQ(profile({"show", "--store", store}).status, 6);
    EXPECT_EQ(profile({"set", "--store", store, toml()}).status, 6);
    refused(path, {"init", "--store", store}, "--replace-damaged");
    const std::string table = bytes(path, 0, kMiB);
    must({"init", "--store", store, "--replace-damaged", "--from", toml()});
    EXPECT_EQ(shown(store), kNode);
    EXPECT_EQ(bytes(path, 0, kMiB), table);
}

// A machine that runs from the disk: one of its partitions is mounted.
class ProfileOfARunningMachine : public ProfileVerb {
  protected:
    ProfileOfARunningMachine() {
        const std::string path = scratch_.sparse_file("disk.img", kDisk);
        loop_ = std::make_unique<test::LoopDevice>(path);
        test::must_run({"sgdisk", "-n", "1:1MiB:40MiB", loop_->path()});
        must({"init", "--store", store(), "--from", toml()});
        test::must_run({"partx", "-a", loop_->path()});
        test::must_run({"mke2fs", "-q", "-t", "ext4", loop_->path() + "p1"});
        std::filesystem::create_directory(scratch_.file("mnt"));
        if (::mount((loop_->path() + "p1").c_str(), scratch_.file("mnt").c_str(), "ext4", 0, nullptr) != 0)
            throw_errno(Code::kInternal, errno, "mount");
    }
    ~ProfileOfARunningMachine() override {
        ::umount(scratch_.file("mnt").c_str());
        run_program({"partx", "-d", loop_->path()});
    }
    std::string store() const { return "partition:" + loop_->path(); }
    std::unique_ptr<test::LoopDevice> loop_;
};

TEST_F(ProfileOfARunningMachine, CanBeChangedWhileItRuns) {
    write("mnt/file", "data of the running machine");
    EXPECT_EQ(shown(store()), kNode);
    must({"set", "--store", store(), toml("other.toml")});
    EXPECT_EQ(shown(store()), kOther) << "not what the page cache of the whole disk remembers";
    EXPECT_EQ(::umount(scratch_.file("mnt").c_str()), 0);
    test::must_run({"e2fsck", "-fn", loop_->path() + "p1"});
    EXPECT_THAT(test::must_run({"sgdisk", "-v", loop_->path()}), HasSubstr("No problems found"));
}

TEST_F(ProfileOfARunningMachine, IsNotChangedThroughTheDiskUnderAMountedFilesystem) {
    test::must_run({"partx", "-d", "--nr", "128", loop_->path()});
    const RunResult result = profile({"set", "--store", store(), toml("other.toml")});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err, HasSubstr("partx -a " + loop_->path()));
    EXPECT_EQ(shown(store()), kNode);
}

// As udev does it after somebody wrote to the disk.
TEST_F(ProfileOfARunningMachine, IsChangedAlsoWhenTheTableIsJustReadAgain) {
    const std::string looking = scratch_.file("looking"), disk = loop_->path();
    auto udev = std::async(std::launch::async, [&] {
        return run_program(
            {"flock", "--exclusive", disk, "sh", "-c",
             "partx -d --nr 128 " + disk + "; touch " + looking + "; sleep 1; partx -a --nr 128 " + disk});
    });
    while (!std::filesystem::exists(looking))
        ::usleep(10'000);
    must({"set", "--store", store(), toml("other.toml")});
    EXPECT_EQ(udev.get().status, 0);
    EXPECT_EQ(shown(store()), kOther);
}

TEST_F(ProfileOfARunningMachine, IsNotChangedThroughTheFileBehindTheDisk) {
    const RunResult result =
        profile({"set", "--store", "partition:" + scratch_.file("disk.img"), toml("other.toml")});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err, HasSubstr("is in use"));
    EXPECT_EQ(shown(store()), kNode);
}

TEST_F(ProfileOfARunningMachine, KeepsItsTable) {
    const RunResult result = profile({"init", "--store", store()});
    EXPECT_EQ(result.status, 3);
    EXPECT_THAT(result.err, AllOf(HasSubstr("is in use"), HasSubstr("mounted")));
}

TEST_F(ProfileVerb, KeepsAProfileInAFile) {
    const std::string store = "file:" + scratch_.file("store");
    must({"init", "--store", store, "--from", toml()});
    must({"set", "--store", store, toml("other.toml")});
    EXPECT_EQ(shown(store), kOther);
    EXPECT_EQ(profile({"init", "--store", store}).status, 3);
    EXPECT_EQ(profile({"init", "--store", "file:/dev/dupengine-test-typo"}).status, 3);
    EXPECT_FALSE(std::filesystem::exists("/dev/dupengine-test-typo"));
    EXPECT_EQ(profile({"init", "--store", store, "--size", "4MiB"}).status, 2);
    EXPECT_EQ(profile({"show", "--store", "disk:/dev/sda"}).status, 2);
    EXPECT_EQ(profile({"show", "--store", "partition:" + scratch_.file("missing")}).status, 3);
}

TEST_F(ProfileVerb, ExplainsWhichFileAndLineDecided) {
    write("other.toml", std::string(kOther) + "[identity]\nmachine_id = { mode = \"regenerate\" }\n");
    const std::string store = "file:" + scratch_.file("store"),
                      roles = test::source_folder() + "/profiles/roles";
    must({"init", "--store", store, "--from", toml("other.toml")});
    const RunResult text = profile({"show", "--store", store, "--explain", "--roles", roles});
    EXPECT_THAT(text.out, ::testing::ContainsRegex("identity.machine_id +regenerate +" + store + ":6\n"));
    EXPECT_THAT(text.out,
                ::testing::ContainsRegex("storage.fs_uuid +derive +" + roles + "/base.toml:1[0-9]\n"));
    const json all =
        json::parse(profile({"show", "--store", store, "--explain", "--roles", roles, "--json"}).out);
    EXPECT_EQ(all["profile"]["identity"]["hostname"]["value"], "web-2");
    EXPECT_EQ(all["profile"]["storage"]["swap_uuid"]["mode"], "derive");
    EXPECT_THAT(all["profile"]["services"]["enable"].get<std::vector<std::string>>(),
                ::testing::Contains("role-web.service"));
    EXPECT_EQ(profile({"show", "--store", store, "--explain", "--roles", scratch_.path()}).status, 2);
}

TEST_F(ProfileVerb, ValidatesManyFilesAndTellsEveryProblem) {
    write("bad.toml", "schema = 1\nkind = \"node\"\nnode = \"-\"\nrolls = []\n");
    const RunResult text = profile({"validate", toml(), toml("bad.toml"), scratch_.file("missing.toml")});
    EXPECT_EQ(text.status, 2);
    EXPECT_THAT(text.out, AllOf(HasSubstr("node.toml: good\n"), HasSubstr("bad.toml:3:8: node '-'"),
                                HasSubstr("bad.toml:4:1: unknown key 'rolls'"), HasSubstr("missing.toml")));
    EXPECT_EQ(profile({"validate", toml()}).status, 0);
    const RunResult machine = profile({"validate", "--json", toml("bad.toml"), toml()});
    EXPECT_EQ(machine.status, 2);
    const json report = json::parse(machine.out);
    EXPECT_EQ(report["valid"], false);
    EXPECT_EQ(report["files"][0]["problems"][1]["line"], 4);
    EXPECT_EQ(report["files"][1]["profile"]["node"], "web-1");
}

TEST_F(ProfileVerb, NeverPrintsTheNodesSecret) {
    const std::string path = scratch_.file("store"), store = "file:" + path;
    must({"init", "--store", store, "--from", toml()});
    const std::string secret = bytes(path, 4096, 4128);
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"show", "--store", store},
                                               {"show", "--store", store, "--json"},
                                               {"set", "--store", store, toml(), "--json"}}) {
        const RunResult result = profile(arguments);
        for (const std::string& out : {result.out, result.err}) {
            EXPECT_EQ(out.find(secret), std::string::npos);
            EXPECT_EQ(out.find(to_hex(as_bytes(secret))), std::string::npos);
        }
    }
}

}  // namespace
}  // namespace dupengine

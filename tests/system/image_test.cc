// Disks that become images and images that become disks, with the command.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/bytes.h"
#include "tests/support/disk_image.h"
#include "tests/support/killed_run.h"

namespace dupengine {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

struct Mounted {
    std::string path;
    ~Mounted() { run_program({"umount", path}); }
};

class ImageCommand : public testing::Test {
  protected:
    ImageCommand() {
        source_ = test::make_disk_image(scratch_, "source.img");
        must({"image", "keygen", key_});
    }

    std::string must(const std::vector<std::string>& arguments) {
        const RunResult result = test::run_dupengine(arguments);
        EXPECT_EQ(result.status, 0) << result.err;
        return result.out;
    }
    json capture(const std::string& name = "") {
        return json::parse(
            must({"copy", "--json", "--sign-key", key_, source_.path, "image:" + store_ + name}));
    }
    json restore(const std::string& target, const std::string& name = "") {
        return json::parse(must({"copy", "--json", "--yes", "--create", "--trust", key_ + ".pub",
                                 "image:" + store_ + name, target}));
    }
    RunResult verify(const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"verify", "--json", "--trust", key_ + ".pub",
                                              "image:" + store_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return test::run_dupengine(arguments);
    }
    // A piece of a file of the source's root changes.
    void change_source(std::uint64_t seed) {
        test::add_file(scratch_, source_, fmt::format("change-{}", seed), 100000, seed);
    }
    // A copy onto the target has begun.
    bool is_marked() const {
        std::array<char, 512> sector{};
        std::ifstream(target_, std::ios::binary).read(sector.data(), sector.size());
        return std::ranges::all_of(sector, [](char c) { return c == 0; });
    }
    std::string tree_of(const std::string& disk) { return test::root_digest(scratch_, source_, disk); }

    test::ScratchFolder scratch_;
    test::DiskImage source_;
    std::string store_ = scratch_.file("store");
    std::string key_ = scratch_.file("images.key");
    std::string target_ = scratch_.file("target.img");
};

TEST_F(ImageCommand, ADiskThatWasCapturedComesBackAsTheSameSystem) {
    const json report = capture();
    EXPECT_EQ(report["result"], "verified");
    EXPECT_EQ(report["version"], 1);
    EXPECT_EQ(restore(target_)["result"], "verified");
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
    EXPECT_THAT(test::must_run({"sgdisk", "-v", target_}), HasSubstr("No problems found"));
    EXPECT_FALSE(test::file_contains(target_, test::kDeletedText)) << "deleted files travelled";
    EXPECT_EQ(test::run_dupengine({"verify", source_.path, target_}).status, 0);
    EXPECT_EQ(verify({target_}).status, 0);
}

TEST_F(ImageCommand, ASecondCaptureHoldsWhatChangedAndEveryVersionComesBack) {
    const auto first_bytes = capture()["bytes_stored"].get<std::uint64_t>();
    const std::string first = tree_of(source_.path);
    change_source(1);
    const json second = capture();
    EXPECT_EQ(second["version"], 2);
    EXPECT_LT(second["bytes_stored"].get<std::uint64_t>(), std::min<std::uint64_t>(first_bytes, 1 << 20));
    restore(target_);
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
    // Going back reads little more than what differs: the rest is there, and known by its digest.
    const json back = restore(target_, "#disk@1");
    EXPECT_EQ(tree_of(target_), first);
    EXPECT_LT(back["bytes_read"].get<std::uint64_t>(), 2u << 20);
    EXPECT_GT(back["bytes_equal"].get<std::uint64_t>(), back["bytes_read"].get<std::uint64_t>());
}

TEST_F(ImageCommand, AnImageThatNobodyVouchesForIsNotTaken) {
    must({"copy", source_.path, "image:" + store_});
    const RunResult refused = test::run_dupengine(
        {"copy", "--yes", "--create", "--trust", key_ + ".pub", "image:" + store_, target_});
    EXPECT_EQ(refused.status, 7) << refused.err;
    EXPECT_FALSE(std::filesystem::exists(target_));
    must({"image", "sign", "--sign-key", key_, "image:" + store_ + "#disk@1"});
    restore(target_);
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
}

TEST_F(ImageCommand, NothingOfADamagedChunkReachesTheTarget) {
    capture();
    // The largest pack holds the data of files; its middle is changed.
    std::string pack;
    for (const auto& entry : std::filesystem::directory_iterator(store_ + "/packs"))
        if (pack.empty() || entry.file_size() > std::filesystem::file_size(pack)) pack = entry.path();
    {
        std::fstream file(pack, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(pack) / 2));
        file.write("damaged!", 8);
    }
    const RunResult checked = verify();
    EXPECT_EQ(checked.status, 6);
    EXPECT_EQ(json::parse(checked.out)["images"][0]["damaged"].size(), 1u);
    const RunResult copied = test::run_dupengine(
        {"copy", "--yes", "--create", "--trust", key_ + ".pub", "image:" + store_, target_});
    EXPECT_EQ(copied.status, 6) << copied.err;
    EXPECT_THAT(copied.err, HasSubstr("is damaged"));
    // What was written of it is no disk yet.
    EXPECT_NE(test::run_dupengine({"verify", target_}).status, 0);
}

TEST_F(ImageCommand, PruningKeepsWhatIsNamedAndGivesBackTheRest) {
    capture("#web");
    const std::string first = tree_of(source_.path);
    for (std::uint64_t seed = 2; seed < 5; ++seed) {
        change_source(seed);
        capture("#web");
    }
    capture("#db");
    const auto size_of_store = [&] {
        std::uint64_t size = 0;
        for (const auto& entry : std::filesystem::directory_iterator(store_ + "/packs"))
            size += entry.file_size();
        return size;
    };
    const std::uint64_t before = size_of_store();
    const json planned =
        json::parse(must({"image", "prune", "--json", "--dry-run", "--keep", "web@1", store_}));
    EXPECT_EQ(planned["removed"].size(), 4u);
    EXPECT_EQ(size_of_store(), before);
    must({"image", "prune", "--keep", "web@1", store_});
    EXPECT_LT(size_of_store(), before);
    EXPECT_EQ(verify().status, 0);
    restore(target_, "#web@1");
    EXPECT_EQ(tree_of(target_), first);
    EXPECT_EQ(test::run_dupengine({"image", "prune", "--keep", "mail", store_}).status, 3);
}

TEST_F(ImageCommand, KilledAtAnyMomentLeavesTheImagesThatWereThere) {
    capture();
    const std::string first = tree_of(source_.path);
    std::mt19937_64 random(7);
    for (std::uint64_t round = 0; round < 12; ++round) {
        change_source(100 + round);
        const std::chrono::microseconds after(random() % 400000);
        const bool prunes = round % 3 == 2;
        if (prunes)
            test::run_and_kill({"image", "prune", "--keep", "disk@1", store_}, after);
        else
            test::run_and_kill({"copy", "--sign-key", key_, source_.path, "image:" + store_}, after);
        const RunResult checked = verify();
        ASSERT_EQ(checked.status, 0) << checked.err << checked.out;
    }
    capture();
    restore(target_);
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
    must({"image", "prune", "--keep", "disk@1", store_});
    restore(target_);
    EXPECT_EQ(tree_of(target_), first);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store_))
        EXPECT_EQ(entry.path().string().find(".new-"), std::string::npos)
            << entry.path() << " was left behind";
}

TEST_F(ImageCommand, AFullDiskUnderAStoreLeavesItAsItWas) {
    std::filesystem::create_directory(store_);
    test::must_run({"mount", "-t", "tmpfs", "-o", "size=100%", "tmpfs", store_});
    const std::string store = store_;
    const Mounted mounted{store};
    store_ += "/images";
    capture();
    change_source(50);
    // What the second capture needs, and a bit less each time.
    const std::uint64_t used = std::filesystem::space(store).capacity - std::filesystem::space(store).free;
    unsigned refused = 0;
    for (std::uint64_t room = 0; room <= 400 * kKiB; room += 20 * kKiB) {
        test::must_run({"mount", "-o", fmt::format("remount,size={}", used + room), store});
        const RunResult result =
            test::run_dupengine({"copy", "--sign-key", key_, source_.path, "image:" + store_});
        if (result.status == 0) break;
        ++refused;
        EXPECT_EQ(result.status, 5) << result.err;
        ASSERT_EQ(verify().status, 0);
    }
    EXPECT_GT(refused, 2u);
    restore(target_);
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
}

TEST_F(ImageCommand, WhatAStoreHoldsIsShown) {
    capture("#web");
    capture("#db");
    const json listed = json::parse(must({"inspect", "--json", "image:" + store_}));
    EXPECT_EQ(listed["images"].size(), 2u);
    EXPECT_EQ(listed["images"][0]["bytes_alone"], 0);
    EXPECT_THAT(must({"inspect", "image:" + store_}), HasSubstr("db@1"));
    EXPECT_THAT(must({"inspect", "image:" + store_ + "#web"}), HasSubstr("ext4"));
    EXPECT_EQ(test::run_dupengine({"inspect", "image:" + store_ + "#mail"}).status, 3);
    EXPECT_EQ(test::run_dupengine({"copy", "--yes", "--insecure", "image:" + store_, target_}).status, 3);
}

TEST_F(ImageCommand, AnImageForMachinesWithARoleIsNotTakenByOthers) {
    must({"copy", "--sign-key", key_, "--target-class", "web", source_.path, "image:" + store_});
    const auto copy = [&] {
        return test::run_dupengine({"copy", "--yes", "--trust", key_ + ".pub", "image:" + store_, target_});
    };
    scratch_.sparse_file("target.img", 200 << 20);
    EXPECT_EQ(copy().status, 3) << "no profile";
    const std::string profile = scratch_.file("node.toml");
    const auto set_roles = [&](const std::string& roles, const char* verb) {
        std::ofstream(profile) << "schema = 1\nkind = \"node\"\nnode = \"n1\"\nroles = [" << roles << "]\n";
        if (std::string(verb) == "init")
            must({"profile", "init", "--store", "partition:" + target_, "--from", profile});
        else
            must({"profile", "set", "--store", "partition:" + target_, profile});
    };
    set_roles("\"db\"", "init");
    EXPECT_EQ(copy().status, 3) << "another role";
    set_roles("\"db\", \"web\"", "set");
    const RunResult copied = copy();
    EXPECT_EQ(copied.status, 0) << copied.err;
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
}

// Somebody who can offer old images, all of them signed, would bring back every hole that was mended since.
TEST_F(ImageCommand, AnOlderVersionThanTheMachineHadIsNotPutBackUnnoticed) {
    const auto capture = [&](const char* name) {
        must({"copy", "--sign-key", key_, source_.path, "image:" + store_ + "#" + name});
    };
    capture("web"), capture("web"), capture("db");
    scratch_.sparse_file("target.img", 200 << 20);
    const std::string profile = scratch_.file("node.toml"), at = "partition:" + target_;
    std::ofstream(profile) << "schema = 1\nkind = \"node\"\nnode = \"n1\"\n";
    must({"profile", "init", "--store", at, "--from", profile});
    const std::string shown = must({"profile", "show", "--store", at});
    const auto copy = [&](const std::string& image, const std::vector<std::string>& options = {}) {
        std::vector<std::string> words{"copy", "--yes", "--trust", key_ + ".pub", "image:" + store_ + image,
                                       target_};
        words.insert(words.end(), options.begin(), options.end());
        return test::run_dupengine(words).status;
    };
    EXPECT_EQ(copy("#web@1"), 0) << "nothing is remembered yet";
    EXPECT_EQ(copy("#web@2", {"--dry-run"}), 0);
    EXPECT_EQ(copy("#web@1"), 0) << "a plan is no copy";
    EXPECT_EQ(copy("#web@2"), 0);
    EXPECT_EQ(copy("#db@1"), 0) << "of another name";
    const std::string before = test::must_run({"sha256sum", target_});
    EXPECT_EQ(copy("#web@1"), 3);
    EXPECT_EQ(test::must_run({"sha256sum", target_}), before) << "refused before the first write";
    EXPECT_EQ(copy("#web@2"), 0) << "the same again";
    EXPECT_EQ(copy("#web@1", {"--allow-older"}), 0);
    EXPECT_EQ(copy("#web@1"), 0) << "it had this one last";
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
    EXPECT_EQ(must({"profile", "show", "--store", at}), shown);
}

// A machine that starts over the network every day would be written every day.
TEST_F(ImageCommand, AVersionThatTheMachineHasIsNotCopiedAgainIfOnlyANewerOneIsWanted) {
    const auto capture = [&](const char* name) {
        must({"copy", "--sign-key", key_, source_.path, "image:" + store_ + "#" + name});
    };
    capture("web"), capture("db");
    scratch_.sparse_file("target.img", 200 << 20);
    const std::string profile = scratch_.file("node.toml"), at = "partition:" + target_;
    std::ofstream(profile) << "schema = 1\nkind = \"node\"\nnode = \"n1\"\n";
    must({"profile", "init", "--store", at, "--from", profile});
    const auto copy = [&](const std::string& name, const std::string& trust) {
        return test::run_dupengine(
            {"copy", "--yes", "--if-newer", trust, "image:" + store_ + "#" + name, target_});
    };
    const std::string trust = "--trust=" + key_ + ".pub";
    EXPECT_EQ(copy("web", "--insecure").status, 2) << "whose version could not be believed";
    EXPECT_EQ(copy("web", trust).out.find("nothing to copy"), std::string::npos);
    std::string before = test::must_run({"sha256sum", target_});
    EXPECT_EQ(copy("web", trust).out, "nothing to copy: " + target_ + " has web@1\n");
    EXPECT_EQ(test::must_run({"sha256sum", target_}), before);
    capture("web");
    for (const char* name : {"web", "db", "web"}) {
        EXPECT_EQ(copy(name, trust).out.find("nothing to copy"), std::string::npos) << name;
        EXPECT_EQ(tree_of(target_), tree_of(source_.path));
    }
    // The same version, but a copy of it was cut.
    test::run_and_kill(
        {"copy", "--yes", "--delta=never", "--rate=1M", trust, "image:" + store_ + "#web", target_},
        [this] { return is_marked(); });
    EXPECT_EQ(copy("web", trust).out.find("nothing to copy"), std::string::npos);
    EXPECT_EQ(tree_of(target_), tree_of(source_.path));
}

TEST_F(ImageCommand, WhatTheMachineMayHaveHadIsNotForgottenUnnoticed) {
    for (int i = 0; i < 2; ++i)
        must({"copy", "--sign-key", key_, source_.path, "image:" + store_ + "#web"});
    scratch_.sparse_file("target.img", 200 << 20);
    const std::string profile = scratch_.file("node.toml"), at = "partition:" + target_;
    std::ofstream(profile) << "schema = 1\nkind = \"node\"\nnode = \"n1\"\n";
    must({"profile", "init", "--store", at, "--from", profile});
    const auto copy = [&](const std::string& image, const std::vector<std::string>& options = {}) {
        std::vector<std::string> words{"copy", "--yes", "--trust", key_ + ".pub", "image:" + store_ + image,
                                       target_};
        words.insert(words.end(), options.begin(), options.end());
        return test::run_dupengine(words);
    };
    ASSERT_EQ(copy("#web@1").status, 0);
    ASSERT_EQ(copy("#web@2").status, 0);
    // The record of the second copy is damaged; the other one knows of the first only.
    const std::string found =
        test::must_run({"bash", "-c", "grep -abo DUPENGINE-IMAGES " + target_ + " | cut -d: -f1 | tail -1"});
    test::must_run({"dd", "if=/dev/urandom", "of=" + target_, "bs=1", "count=64", "conv=notrunc",
                    "status=none", "seek=" + std::to_string(std::stoull(found) + 64)});
    const std::string before = test::must_run({"sha256sum", target_});
    const RunResult refused = copy("#web@1");
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_NE(refused.err.find("--allow-older"), std::string::npos) << refused.err;
    EXPECT_EQ(test::must_run({"sha256sum", target_}), before);
    EXPECT_EQ(copy("#web@1", {"--allow-older"}).status, 0);
    EXPECT_EQ(copy("#web@1", {"--dry-run"}).status, 0) << "certain again";
}

TEST_F(ImageCommand, ADryRunMakesNoStore) {
    must({"copy", "--dry-run", source_.path, "image:" + store_});
    EXPECT_FALSE(std::filesystem::exists(store_));
}

}  // namespace
}  // namespace dupengine

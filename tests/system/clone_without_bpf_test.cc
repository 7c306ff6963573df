// `clone --disks-only` where the kernel takes no BPF programs from us: what is written is found all the same,
// and what that costs is said before.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/aged_filesystem.h"
#include "tests/support/running.h"
#include "tests/support/test_pki.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::must_run;

constexpr std::uint64_t kSize = 160 * kMiB;

struct Kind {
    std::string type;
    std::vector<std::string> make, check;
    std::string options = {};  // for a mount of the copy
};

class CloneWithoutBpf : public testing::Test {
  protected:
    explicit CloneWithoutBpf(const Kind& kind = {"ext4", {"mkfs.ext4", "-q"}, {}}, std::uint64_t size = kSize)
        : port_(test::free_port()),
          address_(fmt::format("127.0.0.1:{}", port_)),
          source_(folder_.sparse_file("source.img", size)),
          target_(folder_.sparse_file("target.img", size)) {
        std::vector<std::string> make = kind.make;
        make.push_back(source_.path());
        must_run(make);
        mount_.emplace(source_.path(), root_, kind.type);
        must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=30", "status=none"});
    }
    std::unique_ptr<test::Running> receive() const {
        auto running = std::make_unique<test::Running>(std::vector<std::string>{
            "receive", "--yes", "--json", "--peers", target_folder_, "--listen", address_, target_});
        running->wait_until_listening(port_);
        return running;
    }
    static RunResult run(const std::vector<std::string>& words) {
        std::vector<std::string> all = {test::without_bpf(), test::command()};
        all.insert(all.end(), words.begin(), words.end());
        return run_program(all);
    }
    RunResult clone(const std::vector<std::string>& options) const {
        std::vector<std::string> words = {"clone", "--peers", source_folder_, source_.path(),
                                          "dup://" + address_};
        words.insert(words.end(), options.begin(), options.end());
        return run(words);
    }

    test::ScratchFolder folder_;
    test::TestPki pki_;
    std::string source_folder_ = pki_.enrol("source"), target_folder_ = pki_.enrol("target");
    std::uint16_t port_;
    std::string address_;
    const test::LoopDevice source_;
    const std::string target_, root_ = folder_.file("root");
    std::optional<test::Mount> mount_;
};

class CloneOfAnyWithoutBpf : public CloneWithoutBpf, public testing::WithParamInterface<Kind> {
  protected:
    CloneOfAnyWithoutBpf() : CloneWithoutBpf(GetParam()) {}
};

// Each number is on the disk before the next one is written.
TEST_P(CloneOfAnyWithoutBpf, ADiskThatIsWrittenToArrivesAsItWasAtOneMoment) {
    auto writing = std::async(std::launch::async, [this] {
        return run_program({"bash", "-c",
                            "cd " + root_ +
                                " && n=0; while [ ! -e stop ]; do n=$((n+1)); echo $n >> log && sync log && "
                                "head -c 20000 /dev/urandom > file$((n%20)) || exit 1; done"});
    });
    while (!std::ifstream(root_ + "/file3"))
        ::usleep(10'000);
    const auto receiving = receive();
    const RunResult cloned = clone({"--disks-only", "--max-pause", "30", "--json"});
    const RunResult received = receiving->end();
    std::ofstream(root_ + "/stop").close();
    EXPECT_EQ(writing.get().status, 0) << "a program of the source failed";
    ASSERT_EQ(cloned.status, 0) << cloned.err;
    ASSERT_EQ(received.status, 0) << received.err;
    EXPECT_NE(cloned.err.find("takes no BPF program"), std::string::npos) << cloned.err;
    EXPECT_NE(cloned.err.find("found by comparing digests"), std::string::npos) << cloned.err;
    EXPECT_GE(json::parse(cloned.out)["rounds"]["bytes"].size(), 2u);

    const std::string large = test::file_sha256(root_ + "/large");
    mount_.reset();  // btrfs is never mounted from two disks with one UUID
    const test::LoopDevice copy(target_);
    std::vector<std::string> check = GetParam().check;
    {
        // What has a log goes through it, as it will on the target.
        const test::Mount mounted(copy.path(), folder_.file("copy"), GetParam().type, GetParam().options);
        std::ifstream log(folder_.file("copy") + "/log");
        std::uint64_t lines = 0;
        for (std::string line; std::getline(log, line);)
            EXPECT_EQ(line, std::to_string(++lines)) << "the log has a hole";
        EXPECT_GE(lines, 3u);
        EXPECT_EQ(test::file_sha256(folder_.file("copy") + "/large"), large);
    }
    check.push_back(copy.path());
    const RunResult checked = run_program(check);
    EXPECT_EQ(checked.status, 0) << checked.out << checked.err;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, CloneOfAnyWithoutBpf,
    testing::Values(Kind{"ext4", {"mkfs.ext4", "-q"}, {"e2fsck", "-fn"}},
                    Kind{"xfs", {"mkfs.xfs", "-q", "-f", "--unsupported"}, {"xfs_repair", "-n"}, "nouuid"},
                    Kind{"btrfs", {"mkfs.btrfs", "-q", "-f"}, {"btrfs", "check", "--readonly"}}),
    [](const auto& kind) { return kind.param.type; });

TEST_F(CloneWithoutBpf, WhatItCostsIsShownBefore) {
    const RunResult shown = clone({"--disks-only", "--max-pause", "30", "--dry-run", "--json"});
    ASSERT_EQ(shown.status, 0) << shown.err;
    const std::string notes = json::parse(shown.out)["notes"].dump();
    for (const char* text : {"takes no BPF program", "in the pause", "of memory"})
        EXPECT_NE(notes.find(text), std::string::npos) << notes;
    const RunResult doctor = run({"doctor", "--json", "--peers", source_folder_});
    ASSERT_EQ(doctor.status, 0) << doctor.err;
    bool is_told = false;
    const json report = json::parse(doctor.out);
    for (const json& one : report["abilities"]) {
        if (one["name"] != "clone --disks-only") continue;
        is_told = true;
        EXPECT_TRUE(one["possible"].get<bool>()) << one;
        EXPECT_NE(one["notes"].dump().find("--track digest"), std::string::npos) << one;
    }
    EXPECT_TRUE(is_told) << doctor.out;
}

// All that is in use is read once more in the pause. A hundredth of a second is asked: no disk gives 2 GiB in
// that.
class LargeCloneWithoutBpf : public CloneWithoutBpf {
  protected:
    LargeCloneWithoutBpf() : CloneWithoutBpf({"ext4", {"mkfs.ext4", "-q"}, {}}, 3 * kGiB) {}
};

TEST_F(LargeCloneWithoutBpf, APauseThatCannotBeSoShortIsRefusedAndNothingIsWritten) {
    must_run({"fallocate", "--length", "2GiB", root_ + "/large2"});
    const RunResult ahead = clone({"--disks-only", "--max-pause", "0.01", "--dry-run"});
    EXPECT_EQ(ahead.status, 9) << ahead.err;
    EXPECT_EQ(ahead.err.find(" 0.0 s"), std::string::npos) << ahead.err;
    const auto receiving = receive();
    const RunResult cloned = clone({"--disks-only", "--max-pause", "0.01"});
    receiving->kill();
    EXPECT_EQ(cloned.status, 9) << cloned.err;
    EXPECT_NE(cloned.err.find("--max-pause"), std::string::npos) << cloned.err;
    EXPECT_EQ(must_run({"stat", "--format=%b", target_}), "0\n") << "something was written";
    EXPECT_NO_THROW(std::ofstream(root_ + "/after") << "goes on");
}

// What programs wrote a moment ago has no place on the disk yet.
TEST_F(CloneWithoutBpf, WhatWaitsToBeWrittenIsInThePreview) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/just", "bs=1M", "count=40", "status=none"});
    const RunResult shown = clone({"--disks-only", "--max-pause", "30", "--dry-run", "--json"});
    ASSERT_EQ(shown.status, 0) << shown.err;
    EXPECT_GE(json::parse(shown.out)["bytes_used"].get<std::uint64_t>(), 70 * kMiB) << shown.out;
}

TEST_F(CloneWithoutBpf, WhatCannotBeHadIsRefusedAndNothingIsWritten) {
    const std::string before = test::file_sha256(target_);
    const RunResult asked = clone({"--disks-only", "--track", "bpf", "--max-pause", "30"});
    EXPECT_EQ(asked.status, 9) << asked.err;
    const RunResult memory = clone({"--track", "digest"});
    EXPECT_EQ(memory.status, 9) << memory.err;
    EXPECT_NE(memory.err.find("--disks-only"), std::string::npos) << memory.err;
    EXPECT_EQ(test::file_sha256(target_), before);
}

}  // namespace
}  // namespace dupengine

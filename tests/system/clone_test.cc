// `clone --disks-only`: a disk that is mounted and written to, onto a machine that receives, with real TLS
// between them. What arrives has to be the disk as it was at one moment, and whoever writes must notice
// nothing but a pause.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/running.h"
#include "tests/support/test_pki.h"

namespace dupengine {
namespace {

using block::Extent;
using nlohmann::json;
using test::must_run;
using test::Running;

constexpr std::uint64_t kSize = 192 * kMiB;
const Extent kPart{kMiB, 161 * kMiB};
const Extent kProfile{170 * kMiB, 171 * kMiB};

std::uint64_t number(const std::string& text) {
    return text.empty() ? 0 : std::stoull(text);
}

// Programs that write all the time. One of them writes two files in turn, each flushed before the other is
// written: at no moment do they differ by more than one. Another only appends.
class Writers {
  public:
    explicit Writers(const std::string& root) : root_(root) {
        const std::string script = fmt::format(
            "trap 'exit 0' TERM; cd {0}\n"
            "(n=0; while [ ! -e stop ]; do n=$((n+1)); echo $n > first.new && sync first.new && mv first.new "
            "first"
            " && sync . && echo $n > second.new && sync second.new && mv second.new second && sync . || exit "
            "1;"
            " done) & one=$!\n"
            "(n=0; while [ ! -e stop ]; do n=$((n+1)); echo $n >> log && sync log || exit 1; done) & two=$!\n"
            "(n=0; while [ ! -e stop ]; do n=$((n+1)); head -c 50000 /dev/urandom > file$((n%30)) || exit 1;"
            " [ $((n%7)) != 0 ] || rm file$((n%30)); done) & three=$!\n"
            "wait $one && wait $two && wait $three",
            root);
        result_ = std::async(std::launch::async, [script] { return run_program({"bash", "-c", script}); });
        while (line_of("second").empty() || line_of("log").empty())
            ::usleep(10'000);
    }
    ~Writers() {
        if (result_.valid()) stop();
    }
    Writers(const Writers&) = delete;
    Writers& operator=(const Writers&) = delete;

    std::string line_of(const std::string& name) const {
        return run_program({"tail", "-n", "1", root_ + "/" + name}).out;
    }
    /// Whether more is written than at that time, within a few seconds.
    bool get_on(std::uint64_t lines) const {
        for (int i = 0; i < 200 && number(line_of("log")) <= lines; ++i)
            ::usleep(25'000);
        return number(line_of("log")) > lines;
    }
    /// Fails the test if one of them met an error.
    void stop() {
        std::ofstream(root_ + "/stop").close();
        EXPECT_EQ(result_.get().status, 0) << "a program of the source failed";
    }

  private:
    std::string root_;
    std::future<RunResult> result_;
};

// A disk with a table, or just a filesystem: then its superblock is among what is written last.
enum class Layout { kTable, kBare };
using How = std::tuple<Layout, const char*>;  // and how writes are found

class Clone : public testing::TestWithParam<How> {
  protected:
    Clone() : port_(test::free_port()), address_(fmt::format("127.0.0.1:{}", port_)) {
        if (is_bare()) {
            must_run({"mkfs.ext4", "-q", source_.path()});
        } else {
            must_run({"sgdisk", "-n1:1M:+160M", "-c1:root", source_.path()});
            nodes_.emplace(source_);
            must_run({"mkfs.ext4", "-q", device()});
        }
        mount_.emplace(device(), root_);
    }
    bool is_bare() const { return std::get<0>(GetParam()) == Layout::kBare; }
    static std::string track() { return std::get<1>(GetParam()); }
    std::string device() const { return source_.path() + (is_bare() ? "" : "p1"); }

    std::unique_ptr<Running> receive(const std::vector<std::string>& more = {}) const {
        std::vector<std::string> words = {"receive",      "--yes",    "--json", "--peers",
                                          target_folder_, "--listen", address_, target_};
        words.insert(words.end(), more.begin(), more.end());
        auto running = std::make_unique<Running>(std::move(words));
        running->wait_until_listening(port_);
        return running;
    }
    RunResult clone(const std::vector<std::string>& more = {}) const {
        std::vector<std::string> words = {"clone",        "--disks-only", "--max-pause",      "20",
                                          "--track",      track(),        "--json",           "--peers",
                                          source_folder_, source_.path(), "dup://" + address_};
        words.insert(words.end(), more.begin(), more.end());
        return test::run_dupengine(words);
    }
    // The filesystem that arrived, as it is: its log must have nothing to replay.
    std::string arrived() const {
        const std::string file = folder_.file("arrived.img");
        must_run({"cp", "--sparse=always", target_, file});
        if (!is_bare()) test::extract_range(target_, kPart, file);
        return file;
    }
    static std::string in(const std::string& filesystem, const std::string& name) {
        return run_program({"debugfs", "-R", "cat " + name, filesystem}).out;
    }

    test::ScratchFolder folder_;
    test::TestPki pki_;
    std::string source_folder_ = pki_.enrol("source"), target_folder_ = pki_.enrol("target");
    std::uint16_t port_;
    std::string address_;
    const test::LoopDevice source_{folder_.sparse_file("source.img", kSize)};
    std::string target_ = folder_.sparse_file("target.img", kSize);
    const std::string root_ = folder_.file("root");
    std::optional<test::PartitionNodes> nodes_;
    std::optional<test::Mount> mount_;
};

std::uint64_t lines_counted(const std::string& log) {
    std::uint64_t lines = 0;
    std::istringstream text(log);
    for (std::string line; std::getline(text, line); ++lines)
        EXPECT_EQ(line, std::to_string(lines + 1)) << "the log has a hole";
    return lines;
}

TEST_P(Clone, ADiskThatIsWrittenToArrivesAsItWasAtOneMoment) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=60", "status=none"});
    Writers writers(root_);
    const std::uint64_t before = number(writers.line_of("log"));
    const auto receiving = receive();
    const RunResult cloned = clone();
    const RunResult received = receiving->end();
    ASSERT_EQ(cloned.status, 0) << cloned.err;
    ASSERT_EQ(received.status, 0) << received.err;
    const std::uint64_t after = number(writers.line_of("log"));
    EXPECT_TRUE(writers.get_on(after)) << "the source stands still";
    writers.stop();

    const std::string filesystem = arrived();
    const RunResult check = run_program({"e2fsck", "-fn", filesystem});
    EXPECT_EQ(check.status, 0) << check.out;
    EXPECT_EQ(run_program({"dumpe2fs", "-h", filesystem}).out.find("needs_recovery"), std::string::npos)
        << "it is not of a moment of rest";
    const std::uint64_t first = number(in(filesystem, "first")), second = number(in(filesystem, "second"));
    EXPECT_TRUE(first == second || first == second + 1) << first << " and " << second;
    const std::uint64_t lines = lines_counted(in(filesystem, "log"));
    EXPECT_GT(lines, before) << "nothing of what was written meanwhile is there";
    EXPECT_LE(lines, after);
    const std::string large = folder_.file("large");
    must_run({"debugfs", "-R", "dump large " + large, filesystem});
    EXPECT_EQ(test::file_sha256(large), test::file_sha256(root_ + "/large"));

    const json report = json::parse(cloned.out);
    EXPECT_EQ(report["result"], "verified");
    EXPECT_GE(report["rounds"]["bytes"].size(), 1u);
    EXPECT_GT(report["rounds"]["last_pause_seconds"].get<double>(), 0);
    const json told = json::parse(received.out);
    EXPECT_EQ(told["round_bytes"], report["rounds"]["bytes"]);
    EXPECT_NE(told["notes"].dump().find("on the source programs waited"), std::string::npos) << told;
}

TEST_P(Clone, ASecondTimeOnlyWhatChangedTravels) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=60", "status=none"});
    for (const bool is_first : {true, false}) {
        const auto receiving = receive();
        const RunResult cloned = clone();
        ASSERT_EQ(cloned.status, 0) << cloned.err;
        ASSERT_EQ(receiving->end().status, 0);
        const std::uint64_t sent = json::parse(cloned.out)["bytes_sent"];
        EXPECT_TRUE(is_first ? sent > 60 * kMiB : sent < 6 * kMiB) << sent;
        std::ofstream(root_ + "/small") << "one more";
    }
    EXPECT_EQ(in(arrived(), "small"), "one more");
}

std::string name_of(const testing::TestParamInfo<How>& one) {
    const auto& [layout, track] = one.param;
    return std::string(layout == Layout::kBare ? "Bare" : "Table") + "_" + track;
}
const auto kBothTracks = testing::Values("bpf", "digest");

INSTANTIATE_TEST_SUITE_P(, Clone,
                         testing::Combine(testing::Values(Layout::kTable, Layout::kBare), kBothTracks),
                         name_of);

class CloneOfATable : public Clone {};
INSTANTIATE_TEST_SUITE_P(, CloneOfATable, testing::Combine(testing::Values(Layout::kTable), kBothTracks),
                         name_of);

TEST_P(CloneOfATable, TheTargetsProfileStays) {
    const auto old = test::make_gpt_disk(
        kSize, {{1, {kMiB, 3 * kMiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}}, 2,
        true);
    write_file_atomic(target_, old->content, 0600, Code::kInternal);
    Writers writers(root_);
    const auto receiving = receive();
    const RunResult cloned = clone();
    ASSERT_EQ(cloned.status, 0) << cloned.err;
    ASSERT_EQ(receiving->end().status, 0);
    writers.stop();
    const Fd fd = open_path(target_, O_RDONLY, Code::kInternal);
    Bytes profile(kProfile.size());
    pread_exact(fd.get(), kProfile.begin, profile, Code::kInternal, target_);
    EXPECT_TRUE(std::equal(profile.begin(), profile.end(),
                           old->content.begin() + static_cast<std::ptrdiff_t>(kProfile.begin)));
    EXPECT_EQ(run_program({"e2fsck", "-fn", arrived()}).status, 0);
    EXPECT_NE(must_run({"sgdisk", "-v", target_}).find("No problems"), std::string::npos);
}

TEST_P(CloneOfATable, EitherEndThatIsKilledLeavesTheSourceAtWork) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=60", "status=none"});
    Writers writers(root_);
    const auto receiving = receive({"--rate", "20M"});
    Running cloning({"clone", "--disks-only", "--max-pause", "20", "--track", track(), "--peers",
                     source_folder_, source_.path(), "dup://" + address_});
    while (std::stoull(run_program({"stat", "-c", "%b", target_}).out) < 64)  // it is copied
        ::usleep(20'000);
    receiving->kill();
    receiving->end();
    EXPECT_TRUE(writers.get_on(number(writers.line_of("log")))) << "the source stands still";
    cloning.kill();
    cloning.end();
    EXPECT_TRUE(writers.get_on(number(writers.line_of("log")))) << "the source stands still";
    const auto again = receive();
    EXPECT_EQ(clone().status, 0);
    EXPECT_EQ(again->end().status, 0);
    writers.stop();
    EXPECT_EQ(run_program({"e2fsck", "-fn", arrived()}).status, 0);
}

TEST_P(CloneOfATable, ATableThatIsWrittenMeanwhileIsNoCopy) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=40", "status=none"});
    const auto receiving = receive({"--rate", "10M"});
    auto cloning = std::async(std::launch::async, [&] { return clone(); });
    while (std::stoull(run_program({"stat", "-c", "%b", target_}).out) < 64)  // it is copied
        ::usleep(20'000);
    must_run({"sgdisk", "-c1:other", source_.path()});
    EXPECT_NE(cloning.get().status, 0);
    const RunResult received = receiving->end();
    EXPECT_EQ(received.status, 6) << received.err;
    EXPECT_NE(received.err.find("partition table was written"), std::string::npos) << received.err;
    EXPECT_TRUE(
        json::parse(test::run_dupengine({"inspect", "--json", target_}).out)["incomplete"].is_object());
}

TEST_P(CloneOfATable, AFilesystemThatIsMountedMeanwhileArrivesAtRest) {
    must_run({"sgdisk", "-n2:0:+20M", source_.path()});
    must_run({"partx", "-a", "--nr", "2", source_.path()});
    must_run({"mkfs.ext4", "-q", source_.path() + "p2"});
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=40", "status=none"});
    const auto receiving = receive({"--rate", "20M"});
    auto cloning = std::async(std::launch::async, [&] { return clone(); });
    while (std::stoull(run_program({"stat", "-c", "%b", target_}).out) < 64)  // it is copied
        ::usleep(20'000);
    {
        const test::Mount later(source_.path() + "p2", folder_.file("later"));
        Writers writers(folder_.file("later"));
        const RunResult cloned = cloning.get();
        ASSERT_EQ(cloned.status, 0) << cloned.err;
        writers.stop();
    }
    ASSERT_EQ(receiving->end().status, 0);
    const std::string second = folder_.file("second.img");
    test::extract_range(target_, {161 * kMiB, 181 * kMiB}, second);
    const RunResult check = run_program({"e2fsck", "-fn", second});
    EXPECT_EQ(check.status, 0) << check.out;
    EXPECT_EQ(run_program({"dumpe2fs", "-h", second}).out.find("needs_recovery"), std::string::npos);
}

// In a mount namespace of its own: the folder of participants is everybody's.
TEST_P(CloneOfATable, ParticipantsAreAskedAndOneOfThemCanCallItOff) {
    const std::string log = folder_.file("calls");
    for (const bool is_veto : {false, true}) {
        const auto receiving = receive();
        const std::string script = fmt::format(
            "mkdir -p /run/dupengine && mount -t tmpfs none /run/dupengine && mkdir -m 755 "
            "/run/dupengine/quiesce.d &&"
            " printf '#!/bin/sh\\necho $1 >> {0}\\n[ $1 != prepare ] || exit {1}\\n'"
            " > /run/dupengine/quiesce.d/50-db && chmod 755 /run/dupengine/quiesce.d/50-db &&"
            " {2} clone --disks-only --max-pause 20 --track {6} --json --peers {3} {4} dup://{5}",
            log, is_veto ? 1 : 0, test::command(), source_folder_, source_.path(), address_, track());
        const RunResult cloned = run_program({"unshare", "--mount", "bash", "-c", script});
        const RunResult received = receiving->end();
        if (!is_veto) {
            ASSERT_EQ(cloned.status, 0) << cloned.err;
            EXPECT_EQ(json::parse(cloned.out)["rounds"]["participants"], 1);
            EXPECT_EQ(read_file(log, Code::kInternal), "prepare\nresume-source\n");
        } else {
            EXPECT_EQ(cloned.status, 8) << cloned.err;
            EXPECT_NE(received.err.find("50-db"), std::string::npos) << received.err;
            EXPECT_EQ(read_file(log, Code::kInternal), "prepare\nresume-source\nprepare\n");
            EXPECT_TRUE(json::parse(test::run_dupengine({"inspect", "--json", target_}).out)["incomplete"]
                            .is_object());
        }
    }
}

// In a mount namespace of its own, as above.
TEST_P(CloneOfATable, ARequestToStopDoesNotWaitForAParticipantThatHangs) {
    const std::string log = folder_.file("calls"), took = folder_.file("took");
    const auto receiving = receive();
    const std::string script = fmt::format(
        "mkdir -p /run/dupengine && mount -t tmpfs none /run/dupengine && mkdir -m 755 "
        "/run/dupengine/quiesce.d && cd /run/dupengine/quiesce.d && for name in 10-first 50-db 90-last; do"
        " printf '#!/bin/sh\necho '$name' $1 >> {0}\n' > $name; chmod 755 $name; done &&"
        " echo '[ $1 != prepare ] || sleep 600' >> 50-db &&"
        " {{ {1} clone --disks-only --max-pause 20 --track {6} --peers {2} {3} dup://{4} & }} &&"
        " until grep -q '50-db prepare' {0}; do sleep 0.05; done;"
        " begin=$(date +%s%3N); kill -INT $!; wait $!; status=$?; echo $(($(date +%s%3N) - begin)) > {5}; "
        "exit "
        "$status",
        log, test::command(), source_folder_, source_.path(), address_, took, track());
    const RunResult cloned = run_program({"unshare", "--mount", "bash", "-c", script});
    receiving->end();
    EXPECT_EQ(cloned.status, 10) << cloned.err;
    EXPECT_EQ(read_file(log, Code::kInternal),
              "10-first prepare\n50-db prepare\n50-db abort\n10-first abort\n");
    EXPECT_LT(std::stoi(read_file(took, Code::kInternal)), 4500) << "of 5000 that a participant has";
}

// In a mount namespace of its own, as above.
TEST_P(CloneOfATable, ADryRunAsksNobodyToRestAndWritesNothing) {
    must_run({"dd", "if=/dev/urandom", "of=" + root_ + "/large", "bs=1M", "count=40", "status=none"});
    must_run({"fsfreeze", "-f", root_});  // nor does the kernel write what it has left
    const std::string log = folder_.file("calls"), before = test::file_sha256(folder_.file("source.img"));
    const std::string script = fmt::format(
        "mkdir -p /run/dupengine && mount -t tmpfs none /run/dupengine && mkdir -m 755 "
        "/run/dupengine/quiesce.d && printf '#!/bin/sh\\necho $1 >> {0}\\n'"
        " > /run/dupengine/quiesce.d/50-db && chmod 755 /run/dupengine/quiesce.d/50-db &&"
        " {1} clone --disks-only --dry-run --max-pause 20 --track {5} --json --peers {2} {3} dup://{4}",
        log, test::command(), source_folder_, source_.path(), address_, track());
    const RunResult shown = run_program({"timeout", "60", "unshare", "--mount", "bash", "-c", script});
    const std::string after = test::file_sha256(folder_.file("source.img"));
    must_run({"fsfreeze", "-u", root_});
    ASSERT_EQ(shown.status, 0) << shown.err;
    EXPECT_EQ(after, before);
    const json preview = json::parse(shown.out);
    EXPECT_EQ(preview["result"], "planned");
    EXPECT_EQ(preview["participants"], 1);
    EXPECT_EQ(preview["disk_bytes"], kSize);
    EXPECT_GT(preview["bytes_used"], 40 * kMiB);
    EXPECT_LT(preview["bytes_used"], 80 * kMiB);
    EXPECT_NE(::access(log.c_str(), F_OK), 0) << "somebody was prepared";
    EXPECT_EQ(test::run_dupengine(
                  {"clone", "--dry-run", "--peers", source_folder_, source_.path(), "dup://" + address_})
                  .status,
              9)
        << "what stands against it is not told";
    EXPECT_EQ(test::run_dupengine({"clone", "--disks-only", "--dry-run", "--peers", source_folder_, device(),
                                   "dup://" + address_})
                  .status,
              3)
        << "a partition is not a disk";
}

TEST_P(CloneOfATable, NobodyWaitsWhenNobodyReceives) {
    const RunResult result = clone();
    EXPECT_EQ(result.status, 8) << result.err;
}

TEST_P(CloneOfATable, WhatCannotBeHadIsRefusedBeforeTheFirstWrite) {
    const std::string before = test::file_sha256(target_);
    EXPECT_EQ(
        test::run_dupengine({"clone", "--peers", source_folder_, source_.path(), "dup://" + address_}).status,
        9)
        << "memory is not duplicated, and nobody said so";
    EXPECT_EQ(test::run_dupengine(
                  {"clone", "--disks-only", "--peers", source_folder_, device(), "dup://" + address_})
                  .status,
              3)
        << "a partition is not a disk";
    {
        const auto receiving = receive({"--grow"});
        EXPECT_EQ(clone().status, 3);
        EXPECT_EQ(receiving->end().status, 3);
    }
    mount_.reset();
    const RunResult idle = clone();
    EXPECT_EQ(idle.status, 3);
    EXPECT_NE(idle.err.find("dupengine copy"), std::string::npos) << idle.err;
    EXPECT_EQ(test::file_sha256(target_), before);
}

}  // namespace
}  // namespace dupengine

// `clone` of several disks: what a machine keeps on all of them arrives as it was at one moment, and either
// all of them arrive or none does.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/running.h"
#include "tests/support/test_pki.h"

namespace dupengine {
namespace {

using nlohmann::json;
using test::must_run;
using test::Running;

constexpr std::uint64_t kFirstSize = 64 * kMiB, kSecondSize = 96 * kMiB + 512 * 7;

// One disk has a table, the other is just a filesystem; their sizes are multiples of nothing.
class CloneOfDisks : public testing::Test {
  protected:
    CloneOfDisks() : port_(test::free_port()), address_(fmt::format("127.0.0.1:{}", port_)) {
        must_run({"sgdisk", "-n1:1M:+60M", "-c1:root", first_.path()});
        nodes_.emplace(first_);
        must_run({"mkfs.ext4", "-q", first_.path() + "p1"});
        must_run({"mkfs.ext4", "-q", second_.path(), "90M"});
        mount_first_.emplace(first_.path() + "p1", root_);
        mount_second_.emplace(second_.path(), srv_);
    }
    std::unique_ptr<Running> receive(const std::vector<std::string>& targets) const {
        std::vector<std::string> words = {"receive",      "--yes",    "--json", "--peers",
                                          target_folder_, "--listen", address_};
        words.insert(words.end(), targets.begin(), targets.end());
        auto running = std::make_unique<Running>(std::move(words));
        running->wait_until_listening(port_);
        return running;
    }
    RunResult clone(const std::string& track = "bpf") const {
        return test::run_dupengine({"clone", "--disks-only", "--max-pause", "20", "--track", track, "--json",
                                    "--peers", source_folder_, first_.path(), second_.path(),
                                    "dup://" + address_});
    }
    static std::string in(const std::string& filesystem, const std::string& name) {
        return run_program({"debugfs", "-R", "cat " + name, filesystem}).out;
    }
    static bool is_unfinished(const std::string& target) {
        return json::parse(test::run_dupengine({"inspect", "--json", target}).out)["incomplete"].is_object();
    }
    std::string arrived_root() const {
        const std::string file = folder_.file("arrived.img");
        test::extract_range(first_target_, {kMiB, 61 * kMiB}, file);
        return file;
    }

    test::ScratchFolder folder_;
    test::TestPki pki_;
    std::string source_folder_ = pki_.enrol("source"), target_folder_ = pki_.enrol("target");
    std::uint16_t port_;
    std::string address_;
    const test::LoopDevice first_{folder_.sparse_file("first.img", kFirstSize)},
        second_{folder_.sparse_file("second.img", kSecondSize)};
    std::string first_target_ = folder_.sparse_file("first_target.img", kFirstSize),
                second_target_ = folder_.sparse_file("second_target.img", kSecondSize);
    const std::string root_ = folder_.file("root"), srv_ = folder_.file("srv");
    std::optional<test::PartitionNodes> nodes_;
    std::optional<test::Mount> mount_first_, mount_second_;
};

// Counts on the one disk and then on the other, each number flushed before the next one is written anywhere:
// at no moment do they differ by more than one.
class Counter {
  public:
    Counter(std::string one, std::string other) : stop_(one + "/stop"), count_(other + "/count") {
        const std::string script = fmt::format(
            "n=0; while [ ! -e {0}/stop ]; do n=$((n+1)); for d in {0} {1}; do echo $n > $d/new &&"
            " sync $d/new && mv $d/new $d/count && sync $d || exit 1; done; done",
            one, other);
        result_ = std::async(std::launch::async, [script] { return run_program({"bash", "-c", script}); });
        while (count() < 3)
            ::usleep(10'000);
    }
    ~Counter() {
        if (result_.valid()) stop();
    }
    Counter(const Counter&) = delete;
    Counter& operator=(const Counter&) = delete;

    int count() const {
        std::ifstream file(count_);
        int count = 0;
        file >> count;
        return count;
    }
    void stop() {
        std::ofstream(stop_).close();
        EXPECT_EQ(result_.get().status, 0) << "a program of the source failed";
    }

  private:
    std::string stop_, count_;
    std::future<RunResult> result_;
};

class CloneOfDisksByEither : public CloneOfDisks, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(, CloneOfDisksByEither, testing::Values("bpf", "digest"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(CloneOfDisksByEither, ThatAreWrittenToArriveAsTheyWereAtOneMoment) {
    for (const std::string& folder : {root_, srv_})
        must_run({"dd", "if=/dev/urandom", "of=" + folder + "/large", "bs=1M", "count=30", "status=none"});
    Counter counter(root_, srv_);
    const int before = counter.count();
    const auto receiving = receive({first_target_, second_target_});
    const RunResult cloned = clone(GetParam());
    const RunResult received = receiving->end();
    ASSERT_EQ(cloned.status, 0) << cloned.err;
    ASSERT_EQ(received.status, 0) << received.err;
    const int after = counter.count();
    counter.stop();

    const std::string root = arrived_root();
    for (const std::string& filesystem : {root, second_target_}) {
        const RunResult check = run_program({"e2fsck", "-fn", filesystem});
        EXPECT_EQ(check.status, 0) << check.out;
        EXPECT_EQ(run_program({"dumpe2fs", "-h", filesystem}).out.find("needs_recovery"), std::string::npos)
            << "it is not of a moment of rest";
        const std::string large = folder_.file("large");
        must_run({"debugfs", "-R", "dump large " + large, filesystem});
        EXPECT_EQ(test::file_sha256(large),
                  test::file_sha256((filesystem == root ? root_ : srv_) + "/large"));
    }
    const int first = std::stoi(in(root, "count")), second = std::stoi(in(second_target_, "count"));
    EXPECT_TRUE(first == second || first == second + 1)
        << first << " and " << second << ": the disks are of two moments";
    EXPECT_GT(second, before) << "nothing of what was written meanwhile is there";
    EXPECT_LE(first, after + 1);
    EXPECT_EQ(json::parse(cloned.out)["source"], first_.path() + ", " + second_.path());
    EXPECT_EQ(json::parse(received.out)["disks"].size(), 2u) << received.out;
}

TEST_F(CloneOfDisks, WithoutATargetForEachNothingIsWritten) {
    const std::string before = test::file_sha256(first_target_);
    const auto receiving = receive({first_target_});
    const RunResult cloned = clone();
    const RunResult received = receiving->end();
    EXPECT_EQ(cloned.status, 3) << cloned.err;
    EXPECT_EQ(received.status, 3) << received.err;
    EXPECT_NE(received.err.find("2 disks come"), std::string::npos) << received.err;
    EXPECT_EQ(test::file_sha256(first_target_), before);
}

TEST_F(CloneOfDisks, OneTargetThatIsTooSmallKeepsAllFromBeingWritten) {
    const std::string small = folder_.sparse_file("small.img", 32 * kMiB),
                      before = test::file_sha256(first_target_);
    const auto receiving = receive({first_target_, small});
    const RunResult cloned = clone();
    EXPECT_NE(cloned.status, 0);
    EXPECT_EQ(receiving->end().status, 3);
    EXPECT_EQ(test::file_sha256(first_target_), before);
}

TEST_F(CloneOfDisks, CutShortNoneOfThemIsADisk) {
    for (const std::string& folder : {root_, srv_})
        must_run({"dd", "if=/dev/urandom", "of=" + folder + "/large", "bs=1M", "count=30", "status=none"});
    const auto receiving = receive({"--rate", "10M", first_target_, second_target_});
    Running cloning({"clone", "--disks-only", "--peers", source_folder_, first_.path(), second_.path(),
                     "dup://" + address_});
    while (std::stoull(run_program({"stat", "-c", "%b", second_target_}).out) < 512)  // the first is copied
        ::usleep(20'000);
    receiving->kill();
    receiving->end();
    cloning.kill();
    cloning.end();
    EXPECT_TRUE(is_unfinished(first_target_));
    EXPECT_TRUE(is_unfinished(second_target_));
    const auto again = receive({first_target_, second_target_});
    EXPECT_EQ(clone().status, 0);
    EXPECT_EQ(again->end().status, 0);
    EXPECT_EQ(run_program({"e2fsck", "-fn", arrived_root()}).status, 0);
    EXPECT_EQ(run_program({"e2fsck", "-fn", second_target_}).status, 0);
}

TEST_F(CloneOfDisks, TheSameDiskTwiceIsRefused) {
    const RunResult cloned =
        test::run_dupengine({"clone", "--disks-only", first_.path(), first_.path(), "dup://" + address_});
    EXPECT_EQ(cloned.status, 2) << cloned.err;
    EXPECT_NE(cloned.err.find("are the same disk"), std::string::npos) << cloned.err;
}

}  // namespace
}  // namespace dupengine

// The report of a copy: what was written comes back, and what was changed, cut or made up does not.

#include "engine/report.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/random.h"
#include "engine/check.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

constexpr std::uint64_t kChunk = 64 * kKiB;

// Extents in one chunk, over several, and many in one.
ExtentSet some_data() {
    ExtentSet data{{512, 1024}, {100 * kKiB, 300 * kKiB}};
    for (ByteOffset at = 512 * kKiB; at < 576 * kKiB; at += 1024)
        data.insert({at, at + 512});
    return data;
}

Report make_one(const block::Reader& disk) {
    Report report;
    report.source = "source \"with\" quotes";
    report.target = "target";
    report.time = 1700000000;
    report.size_bytes = disk.geometry().size_bytes;
    report.chunk_bytes = kChunk;
    report.data = some_data();
    report.digests = ReportDigests().finish(report.data, kChunk, disk);
    for (ByteOffset at = 600 * kKiB; at < 900 * kKiB; at += 128)
        report.zero.insert({at, at + 64});
    report.bad = {{101 * kKiB, 102 * kKiB}};
    const Bytes start = block::read_extent(disk, {0, 512});
    report.boot.push_back({"sector 0", {0, 512}, codec::sha256(start)});
    report.kept.push_back({"profile", {960 * kKiB, kMiB}, {}});
    return report;
}

struct Reports : testing::Test {
    Reports() {
        test::fill_pattern(std::span(disk.bytes()->content).first(590 * kKiB), 5);
        ReportFile(path).write(make_one(disk));
    }
    void rewrite(const std::string& text) {
        std::filesystem::remove(path);
        write_file_atomic(path, as_bytes(text), 0644, Code::kInternal);
    }
    std::string text() const { return read_file(path, Code::kInternal); }
    Check check() {
        const Report report = read_report(path);
        Progress progress;
        return check_disk(disk, &report, progress, {});
    }
    test::ScratchFolder scratch;
    std::string path = scratch.file("report");
    test::MemoryDevice disk{kMiB};
};

TEST_F(Reports, WhatWasWrittenComesBack) {
    const Report made = make_one(disk), read = read_report(path);
    EXPECT_EQ(read.source, made.source);
    EXPECT_EQ(read.time, made.time);
    EXPECT_EQ(read.data, made.data);
    EXPECT_EQ(read.digests, made.digests);
    EXPECT_EQ(read.zero, made.zero);
    EXPECT_EQ(read.bad, made.bad);
    ASSERT_EQ(read.boot.size(), 1u);
    EXPECT_EQ(read.boot[0].sha256, made.boot[0].sha256);
    EXPECT_EQ(read.kept.at(0).extent, made.kept[0].extent);
}

TEST_F(Reports, EveryChangedByteOfADiskThatAReportTellsOfIsFound) {
    EXPECT_TRUE(check().sound());
    const ExtentSet zero = make_one(disk).zero;
    SeededRandom random(9);
    Bytes& content = disk.bytes()->content;
    unsigned told = 0;
    for (unsigned round = 0; round < 40; ++round) {
        const ByteOffset at = round < 4 ? round * 100 : random.below(900 * kKiB);
        const bool covered = at < 512 || some_data().touches({at, at + 1}) || zero.touches({at, at + 1});
        content[at] ^= std::byte{8};
        EXPECT_EQ(!check().sound(), covered) << "seed 9, round " << round << ", byte " << at;
        content[at] ^= std::byte{8};
        told += covered ? 1 : 0;
    }
    EXPECT_GT(told, 10u);
}

TEST_F(Reports, ADiskThatIsShorterThanItsReportIsNoCopy) {
    disk.bytes()->content.resize(512 * kKiB);
    const test::MemoryDevice shorter(disk.bytes());
    const Report report = read_report(path);
    Progress progress;
    const Check check = check_disk(shorter, &report, progress, {});
    ASSERT_EQ(check.faults.size(), 1u);
    EXPECT_NE(check.faults[0].find("the report tells of"), std::string::npos) << check.faults[0];
}

TEST_F(Reports, NoChangedByteOfAReportIsBelieved) {
    const std::string good = text();
    SeededRandom random(11);
    for (unsigned round = 0; round < 100; ++round) {
        std::string bad = good;
        const std::size_t at = random.below(bad.size() - 1);
        bad[at] = static_cast<char>(bad[at] ^ (1 << random.below(7)));
        rewrite(bad);
        EXPECT_THROW(read_report(path), Error) << "seed 11, round " << round << ", byte " << at;
    }
    for (unsigned round = 0; round < 50; ++round) {
        rewrite(good.substr(0, random.below(good.size() - 1)));
        EXPECT_THROW(read_report(path), Error) << "seed 11, cut " << round;
    }
    rewrite(good + good);
    EXPECT_THROW(read_report(path), Error);
}

CopyPlan plan_of(const ExtentSet& data, std::uint64_t chunk_bytes) {
    CopyPlan plan;
    plan.data = data;
    plan.options.tuning.chunk_bytes = chunk_bytes;
    return plan;
}

bool can_be_reported(const CopyPlan& plan) {
    try {
        refuse_what_no_report_holds(plan);
        return true;
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        return false;
    }
}

// Known half a year later, when it cannot be read, helps nobody.
TEST(ReportLimits, ACopyOfMoreThanAReportCanTellOfIsRefusedBeforeItBegins) {
    constexpr std::uint64_t kTiB = 1024 * kGiB;
    EXPECT_TRUE(can_be_reported(plan_of({{0, 32 * kTiB}}, 0)));
    EXPECT_FALSE(can_be_reported(plan_of({{0, 32 * kTiB + 1}}, 0)));
    EXPECT_TRUE(can_be_reported(plan_of({{0, 256 * kGiB}}, 64 * kKiB)));
    EXPECT_FALSE(can_be_reported(plan_of({{0, 256 * kGiB + 1}}, 64 * kKiB)));
    CopyPlan continues = plan_of({{0, 300 * kGiB}}, 0);
    EXPECT_TRUE(can_be_reported(continues));
    continues.journal.emplace().chunk_bytes = 64 * kKiB;  // of the run that was cut
    EXPECT_FALSE(can_be_reported(continues));
    ExtentSet scattered;
    for (ByteOffset at = 0; at < (std::uint64_t{2} << 20) * 1024; at += 1024)
        scattered.insert({at, at + 512});
    EXPECT_TRUE(can_be_reported(plan_of(scattered, 0)));
    scattered.insert({4 * kGiB, 4 * kGiB + 512});
    EXPECT_FALSE(can_be_reported(plan_of(scattered, 0)));
}

// With an end that fits: whoever makes up a report makes up its digest as well.
TEST_F(Reports, WhatNoCopyCanHaveIsRefusedWithoutTrustInItsNumbers) {
    const std::string header =
        R"({"dupengine_report":1,"source":"a","target":"b","time":1,"size_bytes":9,"chunk_bytes":65536})";
    const std::string digest = to_hex(codec::Sha256{});
    const auto refused = [&](const std::vector<std::string>& lines, const std::string& reason) {
        std::string all;
        for (const std::string& line : lines)
            all += line + "\n";
        rewrite(all + fmt::format("{{\"end\":{},\"sha256\":\"{}\"}}\n", lines.size(),
                                  to_hex(codec::sha256(as_bytes(all)))));
        try {
            read_report(path);
            ADD_FAILURE() << "believed: " << all;
        } catch (const Error& e) {
            EXPECT_NE(std::string(e.what()).find(reason), std::string::npos) << e.what();
        }
    };
    const std::string sha = R"(,"sha256":")" + digest + "\"}";
    refused({}, "does not tell of all");
    refused({"[1]"}, "line 1 is none of a report");
    refused({R"({"dupengine_report":2})"}, "version 2");
    refused(
        {R"({"dupengine_report":1,"source":"a","target":"b","time":1,"size_bytes":9,"chunk_bytes":65537})"},
        "chunks of 65537 bytes");
    refused({header, R"({"chunk":[])" + sha}, "line 2 is none of a report");
    refused({header, R"({"chunk":[[5,4]])" + sha}, "a range");
    refused({header, R"({"chunk":[[0,65537]])" + sha}, "a chunk that ends at");
    refused({header, R"({"chunk":[[0,512]],"sha256":"xyz"})"}, "a digest of 3 characters");
    refused({header, R"({"chunk":[[0,512]])" + sha, R"({"chunk":[[512,1024]])" + sha}, "do not ascend");
    refused({header, R"({"zero":[[512,1024],[0,512]]})"}, "do not ascend");
    refused({header, R"({"boot":"x","extent":[0,99999999999])" + sha}, "a boot structure of");
    refused({header, R"({"boot":"x","extent":[0,9223372036854775808])" + sha}, "a range");
}

}  // namespace
}  // namespace dupengine::engine

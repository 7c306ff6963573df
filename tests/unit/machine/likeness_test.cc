#include "machine/likeness.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

class LikenessTest : public testing::Test {
  protected:
    LikenessTest() {
        put("proc/version", "Linux version 6.1.0-50-amd64 #1 SMP Debian\n");
        put("proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse avx2\n\n"
            "processor\t: 1\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse\n");
        put("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
        put("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc-early hpet acpi_pm \n");
        put("sys/firmware/memmap/10/start", "0x100000\n");
        put("sys/firmware/memmap/10/end", "0x3fffffff\n");
        put("sys/firmware/memmap/10/type", "System RAM\n");
        put("sys/firmware/memmap/2/start", "0x0\n");
        put("sys/firmware/memmap/2/end", "0x9ffff\n");
        put("sys/firmware/memmap/2/type", "System RAM\n");
    }
    void put(const std::string& name, const std::string& text) const {
        const std::filesystem::path path = folder_.file(name);
        std::filesystem::create_directories(path.parent_path());
        write_file_atomic(path, as_bytes(text), 0600, Code::kInternal);
    }
    Likeness read() const {
        return read_likeness({folder_.file("proc"), folder_.file("sys"), ""}, [] {
            return TscRate{2'995'200, 12};
        });
    }

  private:
    test::ScratchFolder folder_;
};

TEST_F(LikenessTest, IsReadAndToldWhole) {
    const Likeness here = read();
    EXPECT_EQ(here.kernel, "Linux version 6.1.0-50-amd64 #1 SMP Debian");
    EXPECT_EQ(here.processors, 2u);
    EXPECT_EQ(here.features, (std::set<std::string>{"fpu", "sse"}));  // what all of them have
    EXPECT_EQ(here.memory_map,
              (std::vector<std::string>{"0x0-0x9ffff System RAM", "0x100000-0x3fffffff System RAM"}));
    EXPECT_EQ(here.clock, "tsc");
    EXPECT_EQ(here.clocks, (std::set<std::string>{"acpi_pm", "hpet", "tsc"}));
    EXPECT_EQ(parse_likeness(to_text(here)), here);
    EXPECT_TRUE(differences(here, here).empty());
}

TEST_F(LikenessTest, EveryDifferenceThatWouldEndInARefusalByTheKernelIsNamed) {
    const Likeness source = read();
    const auto only = [&](const Likeness& target) {
        const auto found = differences(source, target);
        return found.size() == 1 ? found.front() : fmt::format("{} differences", found.size());
    };
    Likeness target = source;
    target.kernel = "Linux version 6.1.0-51-amd64 #1 SMP Debian";
    EXPECT_NE(only(target).find("6.1.0-51"), std::string::npos);
    target = source;
    target.memory_map.pop_back();
    EXPECT_NE(only(target).find("0x100000-0x3fffffff"), std::string::npos);
    target = source;
    target.features.erase("sse");
    EXPECT_EQ(only(target), "the processor here lacks sse");
    target = source;
    target.processors = 1;
    EXPECT_NE(only(target).find("2 processors"), std::string::npos);
    target = source;
    target.vendor = "AuthenticAMD";
    EXPECT_NE(only(target).find("AuthenticAMD"), std::string::npos);
}

// Its clock would stand still, or run at another speed, for as long as it runs.
TEST_F(LikenessTest, AClockThatTheTargetDoesNotHaveIsADifference) {
    const Likeness source = read();
    Likeness target = source;
    target.clock = "hpet";
    EXPECT_TRUE(differences(source, target).empty()) << "it could";
    target.clocks.erase("tsc");
    ASSERT_EQ(differences(source, target).size(), 1u);
    EXPECT_NE(differences(source, target).front().find("kept by tsc there"), std::string::npos);
    target = source;
    target.tsc.khz += target.tsc.khz / 1000;
    ASSERT_EQ(differences(source, target).size(), 1u);
    EXPECT_NE(differences(source, target).front().find("2995.200 MHz"), std::string::npos);
    Likeness by_another = source;
    by_another.clock = "hpet";
    EXPECT_TRUE(differences(by_another, target).empty()) << "it does not matter there";
}

TEST_F(LikenessTest, ClocksThatCanBeCorrectedOrAreNotKnownAreNoDifference) {
    const Likeness source = read();
    Likeness target = source;
    target.tsc.khz += target.tsc.khz * 400 / 1'000'000;
    EXPECT_TRUE(differences(source, target).empty());
    target.tsc = {source.tsc.khz * 2, 1'000'000};
    EXPECT_TRUE(differences(source, target).empty()) << "it was not measured well enough to say so";
    target.clocks.clear();
    EXPECT_TRUE(differences(source, target).empty()) << "an older version does not tell them";
}

TEST_F(LikenessTest, PageTablesOfAnotherDepthAreADifferenceBothWays) {
    const Likeness four = read();
    Likeness five = four;
    five.features.insert("la57");
    EXPECT_TRUE(differences(five, five).empty());
    ASSERT_EQ(differences(five, four).size(), 1u);
    EXPECT_EQ(differences(five, four).front(), "the processor here lacks la57");
    ASSERT_EQ(differences(four, five).size(), 1u);
    EXPECT_NE(differences(four, five).front().find("no5lvl"), std::string::npos);
}

TEST(TimeStampCounter, RunsAsFastTwiceInARow) {
    const TscRate once = measure_tsc(), again = measure_tsc();
    ASSERT_NE(once.khz, 0u);
    EXPECT_TRUE(keeps_time(once, again)) << once.khz << " " << again.khz;
}

TEST_F(LikenessTest, MoreOnTheTargetIsNoDifference) {
    const Likeness source = read();
    Likeness target = source;
    target.features.insert("avx512f");
    target.processors = 8;
    EXPECT_TRUE(differences(source, target).empty());
}

TEST(LikenessOfAPeer, ThatSaysNothingIsNotBelieved) {
    EXPECT_THROW(parse_likeness(""), Error);
    EXPECT_THROW(parse_likeness("memory: everything\n"), Error);
}

}  // namespace
}  // namespace dupengine::machine

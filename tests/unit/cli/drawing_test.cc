#include "cli/drawing.h"

#include <gmock/gmock.h>

#include <sstream>

namespace dupengine::cli {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr DrawingStyle kAscii40{40, Charset::kAscii, false};
constexpr DrawingStyle kUtf40{40, Charset::kUtf8, false};

std::vector<std::string> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

std::vector<std::size_t> widths_of(const std::string& text) {
    std::vector<std::size_t> widths;
    for (const std::string& line : lines_of(text))
        widths.push_back(columns_of(line));
    return widths;
}

std::vector<Segment> system_disk() {
    return {{{0, 100}, "1 EFI", "vfat", SegmentKind::kSystem, 0.1},
            {{100, 700}, "2 root", "ext4 50 %", SegmentKind::kData, 0.5},
            {{700, 800}, "3", "profile", SegmentKind::kProtected, {}},
            {{800, 1000}, "free", "", SegmentKind::kFree, {}}};
}

TEST(Drawing, ASystemDiskInPlainCharacters) {
    EXPECT_EQ(draw_bar(system_disk(), kAscii40),
              "+----+---------------------+---+-------+\n"
              "|1 E~|2 root               |3  |free   |\n"
              "|vfat|ext4 50 %            |pro|       |\n"
              "|#...|###########..........|===|       |\n"
              "+----+---------------------+---+-------+\n");
}

TEST(Drawing, ASystemDiskInBoxes) {
    EXPECT_EQ(draw_bar(system_disk(), kUtf40),
              "┌────┬─────────────────────┬───┬───────┐\n"
              "│1 E…│2 root               │3  │free   │\n"
              "│vfat│ext4 50 %            │pro│       │\n"
              "│█░░░│███████████░░░░░░░░░░│▒▒▒│       │\n"
              "└────┴─────────────────────┴───┴───────┘\n");
}

TEST(Drawing, ColoursChangeNothingButColours) {
    DrawingStyle style = kAscii40;
    style.colors = true;
    std::string text = draw_bar(system_disk(), style);
    EXPECT_THAT(text, HasSubstr("\033[34m2 root"));
    for (std::size_t at; (at = text.find('\033')) != std::string::npos;)
        text.erase(at, text.find('m', at) + 1 - at);
    EXPECT_EQ(text, draw_bar(system_disk(), kAscii40));
}

TEST(Drawing, EveryLineIsExactlyAsWideAsTheTerminal) {
    for (unsigned columns = 20; columns < 130; ++columns)
        EXPECT_THAT(widths_of(draw_bar(system_disk(), {columns, Charset::kUtf8, false})), Each(columns));
}

TEST(Drawing, ATinyPartitionBesideAHugeOneIsStillSeen) {
    const std::uint64_t huge = std::uint64_t{1} << 60;
    const auto text = draw_bar({{{0, 512}, "1", "", SegmentKind::kSystem, 1.0},
                                {{512, huge}, "2", "", SegmentKind::kData, 0.0000001}},
                               kAscii40);
    EXPECT_THAT(text, HasSubstr("|1  |2 "));
    EXPECT_THAT(text, HasSubstr("|###|#..")) << "a filesystem that holds anything is not drawn empty";
}

TEST(Drawing, AnAlmostFullFilesystemIsNotDrawnFull) {
    EXPECT_THAT(draw_bar({{{0, 10}, "1", "", SegmentKind::kData, 0.9999}}, kAscii40), HasSubstr("#.|"));
    EXPECT_THAT(draw_bar({{{0, 10}, "1", "", SegmentKind::kData, 1.0}}, kAscii40), Not(HasSubstr(".")));
}

TEST(Drawing, MorePartitionsThanColumnsShareBoxesAndTheLargestKeepTheirOwn) {
    std::vector<Segment> segments;
    for (std::uint64_t i = 0; i < 128; ++i)
        segments.push_back({{i * 1000, i * 1000 + (i == 70 ? 1000u : 10u)},
                            std::to_string(i + 1),
                            "",
                            SegmentKind::kData,
                            1.0});
    const std::string text = draw_bar(segments, kAscii40);
    EXPECT_THAT(widths_of(text), Each(40u));
    EXPECT_THAT(text, HasSubstr("|71 "));
    EXPECT_THAT(text, HasSubstr("|+"));
}

TEST(Drawing, DamagedTablesAreDrawnToo) {
    EXPECT_EQ(draw_bar({}, kAscii40), "");
    // Empty, reversed and overlapping extents.
    const auto text = draw_bar({{{5, 5}, "1", "", SegmentKind::kData, {}},
                                {{9, 3}, "2", "", SegmentKind::kData, -1.0},
                                {{0, ~std::uint64_t{0}}, "3", "", SegmentKind::kData, 7.0}},
                               kAscii40);
    EXPECT_THAT(widths_of(text), Each(40u));
}

TEST(Drawing, AGapIsFreeSpaceIfItIsWorthTheName) {
    std::vector<Segment> segments = {{{50, 60}, "2", "", SegmentKind::kData, {}},
                                     {{1, 20}, "1", "", SegmentKind::kData, {}}};
    const auto all = with_free_space(segments, {0, 100}, 10, "free");
    std::vector<std::string> labels;
    for (const Segment& s : all)
        labels.push_back(s.label);
    EXPECT_EQ(labels, (std::vector<std::string>{"1", "free", "2", "free"}));
    EXPECT_EQ(all[1].extent, (block::Extent{20, 50}));
    EXPECT_EQ(all[3].extent, (block::Extent{60, 100}));
}

const std::vector<Column> kColumns = {{"#", true}, {"size", true}, {"label"}, {"type"}};

TEST(Drawing, ATableLeavesOutColumnsThatSayNothing) {
    EXPECT_EQ(draw_table(kColumns,
                         {{{"1", "512 MiB", "", "EFI system"}, {"in use: here"}},
                          {{"12", "1 GiB", "", "Linux"}, {}}},
                         kAscii40),
              " #     size  type\n"
              " 1  512 MiB  EFI system\n"
              "    in use: here\n"
              "12    1 GiB  Linux\n");
}

TEST(Drawing, ATableIsCutWhereItIsWidestAndNumbersNeverAre) {
    const std::vector<Row> rows = {
        {{"1", "512 MiB", "a label that goes on", "a type that does not end soon"}, {}}};
    const std::string text = draw_table(kColumns, rows, kAscii40);
    for (std::size_t width : widths_of(text))
        EXPECT_LE(width, 40u);
    EXPECT_THAT(text, HasSubstr("1  512 MiB  "));
    EXPECT_EQ(table_columns(kColumns, rows, kAscii40), 1u + 2 + 7 + 2 + 20 + 2 + 29);
}

TEST(Drawing, LabelsCannotBreakThePicture) {
    const auto text = draw_table(kColumns, {{{"1", "1 B", "x\033[2J\ny", "z"}, {"evil\rremark"}}}, kAscii40);
    EXPECT_EQ(lines_of(text).size(), 3u);
    EXPECT_THAT(text, Not(HasSubstr("\033")));
    EXPECT_THAT(text, Not(HasSubstr("\r")));
}

}  // namespace
}  // namespace dupengine::cli

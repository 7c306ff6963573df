#include "cli/source_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/wake_letter.h"
#include "wire/message.h"

namespace dupengine::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Json = nlohmann::ordered_json;

TEST(SourceReport, TellsTheTargetHowLongWhoWaited) {
    machine::HotReport disk{0.95, 0.31, {40 << 20, 12 << 20}, {"the log of /dev/sda1 was replayed"}};
    const auto notes = source_notes(source_report(disk, nullptr, 2));
    EXPECT_THAT(notes, ElementsAre("on the source programs waited 0.310 s at the end, 0.950 s at the start",
                                   "on the source: the log of /dev/sda1 was replayed"));
}

TEST(SourceReport, OfThousandsOfRoundsItFitsIntoAMessage) {
    machine::HotReport disk;
    disk.round_bytes.assign(4000, 1'000'000'000'000);
    machine::LiveReport memory;
    memory.passes.resize(4000, {1'000'000, 1'000'000, 1'000'000'000, 12.345678});
    memory.pauses.resize(40);
    memory.pauses.back().image = 1.5;
    const std::string report = source_report(disk, &memory, 0);
    EXPECT_LE(report.size(), wire::kMostReport);
    EXPECT_EQ(Json::parse(report)["memory"]["pauses"].back()["image"], 1.5) << "the last pause counts";
}

TEST(SourceReport, OfWhatIsNoneNothingIsSaid) {
    for (const char* text : {"", "[", "[]", "{}", "7"})
        EXPECT_THAT(source_notes(text), IsEmpty()) << text;
    EXPECT_THAT(source_notes(R"({"rounds":{"bytes":["x"],"last_pause_seconds":{}},"notes":[1,{}]})"),
                ElementsAre("on the source programs waited 0.000 s at the end, 0.000 s at the start"));
    for (const std::string& note : source_notes(R"({"rounds":{},"notes":["\u001b[2J"]})"))
        EXPECT_EQ(note.find('\x1b'), std::string::npos) << "it would reach the terminal";
}

TEST(WakeLetter, HoldsBothOrIsNone) {
    const Bytes held(1000, std::byte{7});
    const Bytes whole = encode_letter({held, R"({"rounds":{}})"});
    EXPECT_EQ(decode_letter(whole).held_boot, held);
    EXPECT_EQ(decode_letter(whole).source_report, R"({"rounds":{}})");
    for (std::size_t size = 0; size < whole.size() - held.size(); ++size)
        EXPECT_THROW(decode_letter(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
                     Error);
}

}  // namespace
}  // namespace dupengine::cli

#include "cli/verify_alone.h"

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "block/open.h"
#include "cli/interrupt.h"
#include "cli/places_view.h"
#include "cli/progress_view.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "engine/check.h"
#include "profiles/slots.h"
#include "profiles/stores/partition.h"

namespace dupengine::cli {
namespace {

using engine::Check;
using Json = nlohmann::ordered_json;

// The profile's slots have checksums of their own, and the newest good one is what the machine is.
void check_profile(const block::Reader& disk, Check& check) {
    std::optional<profiles::ProfilePlace> place;
    try {
        place = profiles::find_profile_place(disk);
    } catch (const Error& e) {
        if (e.code() == Code::kRefused) check.faults.emplace_back(e.what());  // two of them
        return;  // a damaged table has been told already
    }
    if (!place) return;
    if (place->extent.size() < profiles::kStoreMinimumBytes)
        return check.faults.push_back("the profile partition is too small for a profile");
    const profiles::Slots slots = profiles::read_slots(disk, place->extent);
    if (slots.blank()) return check.notes.push_back("the profile partition is empty");
    for (std::size_t i = 0; i < slots.slots.size(); ++i) {
        const auto& slot = slots.slots[i];
        const std::string text = fmt::format("profile, slot {}: {}", i, slot.reason);
        if (slot.state == profiles::SlotState::kDamaged || slot.state == profiles::SlotState::kUnreadable)
            check.faults.push_back(text);
        if (slot.state == profiles::SlotState::kForeign) check.notes.push_back(text);
    }
}

std::string check_json(const Check& check) {
    Json json = {{"result", check.sound() ? "sound" : "damaged"},
                 {"disk", check.disk.name},
                 {"bytes_read", check.bytes_read},
                 {"faults", check.faults},
                 {"unreadable", Json::array()},
                 {"different", Json::array()},
                 {"notes", check.notes}};
    for (const auto& places : check.unreadable)
        json["unreadable"].push_back(places_json(places, "bytes"));
    for (const auto& places : check.different)
        json["different"].push_back(places_json(places, "bytes"));
    return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string check_text(const Check& check, bool with_report, Charset charset) {
    std::string text;
    for (const std::string& note : check.notes)
        text += "note: " + printable(note, charset) + "\n";
    for (const std::string& fault : check.faults)
        text += "fault: " + printable(fault, charset) + "\n";
    for (const auto& places : check.unreadable)
        text += places_lines(places, "cannot be read", charset);
    for (const auto& places : check.different)
        text += places_lines(places, "in chunks that are not what was copied, in or beside these", charset);
    const char* sound = with_report ? "holds what was copied" : "could be read, and its structures agree";
    return text + fmt::format("{}: {} {}; read {}\n", check.sound() ? "sound" : "damaged",
                              printable(check.disk.name, charset), check.sound() ? sound : "is not whole",
                              format_size(check.bytes_read));
}

}  // namespace

int verify_alone(const std::string& path, const std::string& report_path, const Globals& globals) {
    std::optional<engine::Report> report;
    if (!report_path.empty()) report = engine::read_report(report_path);
    auto disk = block::open_source(path);
    // The image of a disk with large sectors in a file.
    const std::uint32_t sector_bytes = layout::describe_disk(*disk, layout::Depth::kTable).table.sector_bytes;
    if (sector_bytes != disk->geometry().logical_sector_bytes) disk = block::open_source(path, sector_bytes);
    const InterruptWatch interrupt;
    Progress progress;
    Check check;
    {
        const ProgressView view(progress, globals.progress);
        check = engine::check_disk(*disk, report ? &*report : nullptr, progress, interrupt.token());
    }
    check_profile(*disk, check);
    if (globals.json)
        fmt::print("{}\n", check_json(check));
    else
        fmt::print("{}", check_text(check, report.has_value(), look_at_terminal(1).style.charset));
    if (!check.unreadable.empty()) return static_cast<int>(Code::kSourceIo);
    return check.sound() ? 0 : static_cast<int>(Code::kIntegrity);
}

}  // namespace dupengine::cli

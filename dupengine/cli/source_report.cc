#include "cli/source_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/text.h"

namespace dupengine::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostTold = 64;

template <typename T>
void keep_last(std::vector<T>& list) {
    if (list.size() > kMostTold) list.erase(list.begin(), list.end() - kMostTold);
}

double seconds_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

const Json& object_of(const Json& object, const char* key) {
    static const Json kNone = Json::object();
    const auto found = object.find(key);
    return found != object.end() && found->is_object() ? *found : kNone;
}

}  // namespace

Json rounds_json(const machine::HotReport& report, std::size_t participants) {
    return {{"bytes", report.round_bytes},
            {"first_pause_seconds", report.first_pause},
            {"last_pause_seconds", report.last_pause},
            {"participants", participants}};
}

Json memory_json(const machine::LiveReport& report) {
    Json passes = Json::array(), pauses = Json::array();
    for (const machine::PassReport& pass : report.passes)
        passes.push_back({{"pages", pass.pages_looked_at},
                          {"pages_sent", pass.pages_sent},
                          {"bytes_sent", pass.bytes_sent},
                          {"seconds", pass.seconds}});
    for (const machine::PauseReport& pause : report.pauses)
        pauses.push_back({{"processes", pause.processes},
                          {"filesystems", pause.filesystems},
                          {"image", pause.image},
                          {"memory", pause.memory},
                          {"disk", pause.disk},
                          {"thaw", pause.thaw},
                          {"total", pause.total()}});
    return {{"passes", passes},
            {"image",
             {{"pages", report.image.pages},
              {"pages_known", report.image.pages_known},
              {"pages_dead", report.image.pages_dead},
              {"bytes_sent", report.image.bytes_sent}}},
            {"pauses", pauses}};
}

std::string source_report(const machine::HotReport& disk, const machine::LiveReport* memory,
                          std::size_t participants) {
    machine::HotReport last = disk;
    keep_last(last.round_bytes);
    Json json = {{"rounds", rounds_json(last, participants)}};
    if (memory != nullptr) {
        machine::LiveReport shortened = *memory;
        keep_last(shortened.passes);
        keep_last(shortened.pauses);
        json["memory"] = memory_json(shortened);
    }
    json["notes"] = disk.notes;
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> source_notes(const std::string& report) {
    const Json json = Json::parse(report, nullptr, false);
    if (!json.is_object() || !json.contains("rounds")) return {};
    const Json& rounds = object_of(json, "rounds");
    std::vector<std::string> notes = {
        fmt::format("on the source programs waited {:.3f} s at the end, {:.3f} s at the start",
                    seconds_of(rounds, "last_pause_seconds"), seconds_of(rounds, "first_pause_seconds"))};
    const auto told = json.find("notes");
    if (told != json.end() && told->is_array())
        for (const Json& note : *told)
            if (note.is_string())
                notes.push_back("on the source: " + printable(note.get<std::string>(), Charset::kUtf8));
    return notes;
}

}  // namespace dupengine::cli

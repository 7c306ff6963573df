#include "profiles/image_notes.h"

#include "block/open.h"
#include "profiles/stores/partition.h"

namespace dupengine::profiles {
namespace {

bool is_certain(const std::optional<ImageHistory>& history) {
    return history && history->doubt.empty() && !history->entries.empty();
}

std::optional<ImageHistory::Entry> note(const std::string& disk, bool (ImageHistory::Entry::*what)()) {
    auto history = history_on(disk);
    if (!is_certain(history) || !(history->entries.front().*what)()) return std::nullopt;
    write_profile_partition(
        disk, [&](block::Target& target, block::Extent region) { write_history(target, region, *history); });
    return history->entries.front();
}

}  // namespace

std::optional<ImageHistory> history_on(const std::string& disk) {
    const auto reader = block::open_source(disk);
    const auto place = find_profile_place(*reader);
    return place ? read_history(*reader, place->extent) : std::nullopt;
}

std::optional<ImageHistory::Entry> last_image(const std::string& disk) {
    const auto history = history_on(disk);
    return is_certain(history) ? std::optional(history->entries.front()) : std::nullopt;
}

std::optional<ImageHistory::Entry> note_tried(const std::string& disk) {
    return note(disk, &ImageHistory::Entry::note_tried);
}

std::optional<ImageHistory::Entry> note_came_up(const std::string& disk) {
    return note(disk, &ImageHistory::Entry::note_came_up);
}

std::optional<ImageHistory::Entry> note_failed(const std::string& disk) {
    return note(disk, &ImageHistory::Entry::note_failed);
}

}  // namespace dupengine::profiles

#include "cli/clone_preview.h"

#include "base/units.h"
#include "layout/describe.h"
#include "machine/facts.h"

namespace dupengine::cli {
namespace {

void add(ClonePreview& preview, const std::string& part, const layout::UsedExtents& used) {
    preview.used_bytes += used.used.total_bytes();
    if (used.whole && !used.used.empty())
        preview.notes.push_back(fmt::format("{}: all of it would go: {}", part, used.reason));
}

}  // namespace

ClonePreview look_ahead(const std::vector<const block::Reader*>& disks, bool with_memory) {
    ClonePreview preview;
    for (const auto& disk : layout::describe_disks(disks, layout::Depth::kUsedExtents)) {
        preview.disk += (preview.disk.empty() ? "" : ", ") + disk.name;
        preview.disk_bytes += disk.geometry.size_bytes;
        if (disk.partitions.empty()) add(preview, disk.name, disk.used);
        for (const layout::PartitionDescription& one : disk.partitions)
            add(preview,
                fmt::format("{}partition {}", disks.size() == 1 ? "" : disk.name + ", ",
                            one.partition.number),
                one.used);
    }
    if (with_memory) preview.memory_bytes = machine::read_facts().memory_in_use_bytes;
    return preview;
}

std::string preview_text(const ClonePreview& preview, Charset charset) {
    std::string text = fmt::format(
        "{} of {} ({}) {}would go to {}\n", format_size(preview.used_bytes), printable(preview.disk, charset),
        format_size(preview.disk_bytes),
        preview.memory_bytes == 0 ? "" : fmt::format("and {} of memory ", format_size(preview.memory_bytes)),
        printable(preview.target, charset));
    text += fmt::format("{} participants would be prepared (dupengine quiesce list)\n", preview.participants);
    for (const std::string& note : preview.notes)
        text += fmt::format("note: {}\n", printable(note, charset));
    return text + "nothing was brought to rest, and nothing was written\n";
}

nlohmann::ordered_json preview_json(const ClonePreview& preview) {
    return {{"result", "planned"},
            {"source", preview.disk},
            {"target", preview.target},
            {"disk_bytes", preview.disk_bytes},
            {"bytes_used", preview.used_bytes},
            {"memory_bytes", preview.memory_bytes},
            {"participants", preview.participants},
            {"notes", preview.notes}};
}

}  // namespace dupengine::cli

#include "efi/core/survey.h"

namespace dupengine::efi {
namespace {

using Line = Text<400>;

// Whether a mark begins there, of whatever version.
bool has_mark(Disk& disk, Buffer scratch) {
    constexpr TextView kMark = "DUPENGINE-UNDONE";
    const std::uint32_t sector = disk.sector_bytes();
    const std::uint64_t room = mark_room(sector);
    if (disk.size_bytes() < 2 * room + sector) return false;
    for (std::uint64_t at : {std::uint64_t{sector}, disk.size_bytes() - room})
        if (disk.read(at, scratch.first(sector)) && as_text(scratch).starts_with(kMark)) return true;
    return false;
}

// A copy that was cut left its mark where the table was. What it keeps is all that is known of the disk.
void look_at_mark(Disk& disk, Buffer scratch, DiskSeen& seen) {
    seen.unfinished = has_mark(disk, scratch);
    seen.mark_known = seen.unfinished && find_mark(disk, scratch, seen.mark);
    seen.table.count = 0;
    for (const KeptPartition& kept : seen.mark.all())
        seen.table.partitions[seen.table.count++] = kept.partition;
}

// What was not checked is not even read as a profile.
TextView read_checked(const Trust& trust, TextView text, NodeProfile& profile) {
    if (text.empty()) return "the store has a secret, but no profile yet";
    if (trust.wants_signatures()) {
        const TextView reason = fault_text(SignedThing::kProfile, check_profile(trust, text));
        if (!reason.empty()) return reason;
    }
    return read_profile(text, profile);
}

void look_at_store(Disk& disk, Buffer scratch, const Trust& trust, DiskSeen& seen) {
    const Partition* store = seen.table.by_type(kProfileType);
    if (store == nullptr) return;
    seen.has_store = true;
    StoredProfile stored;
    seen.no_profile = read_newest_slot(disk, *store, scratch, stored);
    if (!seen.no_profile.empty()) return;
    seen.generation = stored.generation;
    seen.no_profile = read_checked(trust, stored.text, seen.profile);
}

void choose_machine(std::optional<std::size_t> own_disk, Survey& survey) {
    if (own_disk && *own_disk < survey.count && survey.disks[*own_disk].has_store) {
        if (survey.disks[*own_disk].has_profile())
            survey.machine = own_disk;
        else
            survey.no_machine = "the profile on its own disk cannot be used";
        return;
    }
    survey.no_machine = "no disk has a profile";
    for (std::size_t i = 0; i < survey.count; ++i) {
        const DiskSeen& seen = survey.disks[i];
        if (!seen.has_profile()) continue;
        if (survey.machine && !(seen.profile.node.view() == survey.profile()->node.view())) {
            survey.machine.reset();
            survey.no_machine = "its disks have profiles of different machines";
            return;
        }
        if (!survey.machine || seen.generation > survey.disks[*survey.machine].generation) survey.machine = i;
    }
}

void add_size(Line& line, std::uint64_t bytes) {
    constexpr std::uint64_t kGiB = 1024 * kMiB;
    if (bytes < 10 * kGiB)
        line.number(bytes / kMiB).add(" MiB");
    else
        line.number(bytes / kGiB).add(" GiB");
}

void print_disk(Firmware& firmware, std::size_t number, const DiskSeen& seen) {
    Line line;
    line.add("  disk ").number(number + 1).add(": ");
    add_size(line, firmware.disk(number).size_bytes());
    if (seen.unfinished)
        line.add(", a copy onto it was cut: unfinished");
    else if (!seen.no_table.empty())
        line.add(", ").add(seen.no_table);
    else
        line.add(", ").number(seen.table.count).add(seen.table.count == 1 ? " partition" : " partitions");
    if (seen.has_profile())
        line.add(", profile of ").add(seen.profile.node).add(", generation ").number(seen.generation);
    else if (seen.has_store)
        line.add(", profile cannot be used: ").add(seen.no_profile);
    firmware.print(line.add('\n'));
}

}  // namespace

void survey_machine(Firmware& firmware, Buffer scratch, Survey& survey) {
    survey.count = firmware.disk_count() < kMostDisks ? firmware.disk_count() : kMostDisks;
    survey.machine.reset();
    survey.no_machine = {};
    for (std::size_t i = 0; i < survey.count; ++i) {
        Disk& disk = firmware.disk(i);
        DiskSeen& seen = survey.disks[i];
        seen = {};
        seen.no_table = read_gpt(disk, scratch, seen.table);
        if (!seen.no_table.empty()) look_at_mark(disk, scratch, seen);
        look_at_store(disk, scratch, firmware.trust(), seen);
    }
    choose_machine(firmware.own_disk(), survey);
}

void print_survey(Firmware& firmware, const Survey& survey) {
    for (std::size_t i = 0; i < survey.count; ++i)
        print_disk(firmware, i, survey.disks[i]);
    if (survey.count == 0) firmware.print("  no disk\n");
    Line line;
    if (const NodeProfile* profile = survey.profile()) {
        line.add("This machine is ").add(profile->node);
        if (!profile->roles.empty())
            line.add(", roles ").add(profile->roles).add(profile->roles.cut() ? "..." : "");
        line.add(".\n");
    } else {
        line.add("This machine is nobody yet: ").add(survey.no_machine).add(".\n");
    }
    firmware.print(line);
}

}  // namespace dupengine::efi

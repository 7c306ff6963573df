#include "efi/core/survey.h"

#include "efi/core/variable_store.h"

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

void look_at_text(const StoredProfile& stored, const Trust& trust, StoreSeen& seen) {
    seen.generation = stored.generation;
    seen.digest = sha256(std::as_bytes(std::span(stored.text.data(), stored.text.size())));
    seen.no_profile = read_checked(trust, stored.text, seen.profile);
}

void look_at_store(Disk& disk, Buffer scratch, const Trust& trust, DiskSeen& seen) {
    const Partition* store = seen.table.by_type(kProfileType);
    if (store == nullptr) return;
    seen.has_store = true;
    StoredProfile stored;
    seen.no_profile = read_newest_slot(disk, *store, scratch, stored);
    if (seen.no_profile.empty()) look_at_text(stored, trust, seen);
}

void look_at_variables(Firmware& firmware, Buffer scratch, StoreSeen& seen) {
    StoredProfile stored;
    seen.has_store = has_variable_store(firmware);
    if (!seen.has_store) return;
    seen.no_profile = read_newest_variable(firmware, scratch, stored);
    if (seen.no_profile.empty()) look_at_text(stored, firmware.trust(), seen);
}

bool same_node(const StoreSeen& a, const StoreSeen& b) {
    return a.profile.node.view() == b.profile.node.view();
}

// The disk from which it came has a store.
void choose_own(std::size_t own, Survey& survey) {
    const DiskSeen& seen = survey.disks[own];
    if (!seen.has_profile()) {
        survey.no_machine = "the profile on its own disk cannot be used";
    } else if (survey.variables.has_profile() && !same_node(seen, survey.variables)) {
        survey.no_machine = "its own disk and its firmware have profiles of different machines";
    } else {
        survey.machine = &seen;
        survey.home = own;
    }
}

// Its files are where it came from, if that is a disk that firmware can start.
void choose_variables(std::optional<std::size_t> own_disk, Survey& survey) {
    if (!survey.variables.has_profile()) {
        survey.no_machine = "the profile in its firmware cannot be used";
        return;
    }
    survey.machine = &survey.variables;
    if (own_disk && survey.disks[*own_disk].table.by_type(kEfiSystemType) != nullptr) survey.home = own_disk;
}

void choose_newest(Survey& survey) {
    survey.no_machine = "no disk has a profile";
    for (std::size_t i = 0; i < survey.count; ++i) {
        const DiskSeen& seen = survey.disks[i];
        if (!seen.has_profile()) continue;
        if (survey.machine != nullptr && !same_node(seen, *survey.machine)) {
            survey.machine = nullptr;
            survey.home.reset();
            survey.no_machine = "its disks have profiles of different machines";
            return;
        }
        if (survey.machine != nullptr && seen.generation <= survey.machine->generation) continue;
        survey.machine = &seen;
        survey.home = i;
    }
}

void choose_machine(std::optional<std::size_t> own_disk, Survey& survey) {
    if (own_disk && *own_disk >= survey.count) own_disk.reset();
    if (own_disk && survey.disks[*own_disk].has_store) return choose_own(*own_disk, survey);
    if (survey.variables.has_store) return choose_variables(own_disk, survey);
    choose_newest(survey);
}

void add_size(Line& line, std::uint64_t bytes) {
    constexpr std::uint64_t kGiB = 1024 * kMiB;
    if (bytes < 10 * kGiB)
        line.number(bytes / kMiB).add(" MiB");
    else
        line.number(bytes / kGiB).add(" GiB");
}

void add_profile(Line& line, const StoreSeen& seen) {
    if (seen.has_profile())
        line.add("profile of ").add(seen.profile.node).add(", generation ").number(seen.generation);
    else
        line.add("profile cannot be used: ").add(seen.no_profile);
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
    if (seen.has_store) add_profile(line.add(", "), seen);
    firmware.print(line.add('\n'));
}

}  // namespace

void survey_machine(Firmware& firmware, Buffer scratch, Survey& survey) {
    survey.count = firmware.disk_count() < kMostDisks ? firmware.disk_count() : kMostDisks;
    survey.machine = nullptr;
    survey.no_machine = {};
    survey.home.reset();
    survey.variables = {};
    look_at_variables(firmware, scratch, survey.variables);
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
    if (survey.variables.has_store) {
        add_profile(line.add("  firmware: "), survey.variables);
        firmware.print(line.add('\n'));
        line.clear();
    }
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

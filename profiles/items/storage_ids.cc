// Identifiers on the disk: two disks with one UUID in one machine are a danger, and clones with equal ids
// cannot be told apart. A derived value depends on the node's secret, the kind, the partition's number and
// the place of its disk among the disks, so that the next duplication finds the same ones.

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

const Item& item_of(const Profile& profile, IdentifierKind kind) {
    switch (kind) {
        case IdentifierKind::kFilesystemUuid:
        case IdentifierKind::kFatId:
            return profile.fs_uuid;
        case IdentifierKind::kSwapUuid:
            return profile.swap_uuid;
        case IdentifierKind::kPartitionGuid:
            return profile.part_guid;
        case IdentifierKind::kDiskGuid:
        case IdentifierKind::kDiskSignature:
            return profile.disk_guid;
    }
    return profile.fs_uuid;
}

const char* item_name(IdentifierKind kind) {
    switch (kind) {
        case IdentifierKind::kFilesystemUuid:
        case IdentifierKind::kFatId:
            return "fs_uuid";
        case IdentifierKind::kSwapUuid:
            return "swap_uuid";
        case IdentifierKind::kPartitionGuid:
            return "part_guid";
        case IdentifierKind::kDiskGuid:
        case IdentifierKind::kDiskSignature:
            return "disk_guid";
    }
    return "fs_uuid";
}

bool is_short(IdentifierKind kind) {
    return kind == IdentifierKind::kFatId || kind == IdentifierKind::kDiskSignature;
}

// Four bytes as FAT and MBR show them. Zero means "none" to some readers, so it becomes something else.
std::string short_text(IdentifierKind kind, std::span<const std::byte> bytes) {
    std::uint32_t value = load_le<std::uint32_t>(bytes, 0);
    if (value == 0) value = 0x64757065;
    if (kind == IdentifierKind::kDiskSignature) return fmt::format("{:08x}", value);
    return fmt::format("{:04X}-{:04X}", value >> 16, value & 0xffff);
}

std::string text_of(IdentifierKind kind, const Guid& entropy) {
    return is_short(kind) ? short_text(kind, entropy.bytes) : entropy.text();
}

std::string given_value(const Item& item, const Identifier& present) {
    if (present.kind == IdentifierKind::kFilesystemUuid || present.kind == IdentifierKind::kFatId ||
        present.kind == IdentifierKind::kPartitionGuid)
        refuse_mode(item_name(present.kind), item.mode);  // one value for several partitions
    if (present.kind != IdentifierKind::kDiskSignature) try {
            return Guid::parse(item.value).text();
        } catch (const Error&) {
            throw_error(Code::kRefused, "the profile's {} '{}' is no UUID, as {} has here",
                        item_name(present.kind), item.value, present.where);
        }
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(item.value.data(), item.value.data() + item.value.size(), value, 16);
    if (error != std::errc() || item.value.size() != 8 || end != item.value.data() + 8)
        throw_error(
            Code::kRefused,
            "the profile's disk_guid '{}' is no disk signature (8 hexadecimal digits), as this MBR disk has",
            item.value);
    return fmt::format("{:08x}", value);
}

std::string wanted_value(ItemContext& context, const Identifier& present) {
    const Item& item = item_of(context.profile, present.kind);
    const std::string what = lasting_name(identifier_kind_name(present.kind), present.partition);
    switch (item.mode) {
        case Mode::kSet:
            return given_value(item, present);
        case Mode::kDerive:
            return text_of(present.kind, derive_guid(context.secret, what));
        case Mode::kRegenerate: {
            const auto [drawn, fresh] = context.remembered.try_emplace(what);
            if (fresh) drawn->second = text_of(present.kind, context.random.guid());
            return drawn->second;
        }
        case Mode::kRemove:
            refuse_mode(item_name(present.kind), item.mode);
        case Mode::kIgnore:
            break;
    }
    return present.value;
}

// One value is not enough for several.
void check_single(const Profile& profile, const std::vector<Identifier>& present) {
    unsigned swaps = 0, disks = 0;
    for (const Identifier& identifier : present) {
        swaps += identifier.kind == IdentifierKind::kSwapUuid;
        disks += identifier.partition.number == 0;
    }
    if (profile.swap_uuid.mode == Mode::kSet && swaps > 1)
        throw_error(Code::kRefused, "the profile sets one swap_uuid, but there are {} swap partitions",
                    swaps);
    if (profile.disk_guid.mode == Mode::kSet && disks > 1)
        throw_error(Code::kRefused, "the profile sets one disk_guid, but there are {} disks", disks);
}

bool same_text(const std::string& a, const std::string& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// What refers to an identifier that two things carry could mean either, and must not be led to one by chance.
void check_unique(const std::vector<Identifier>& present, const std::vector<IdentifierChange>& changes) {
    for (const IdentifierChange& change : changes)
        for (const Identifier& other : present) {
            const bool itself = other.kind == change.kind && other.partition == change.partition;
            if (itself || !same_text(other.value, change.before)) continue;
            throw_error(
                Code::kRefused,
                "{} and {} carry the same identifier {}, so a reference to it could mean either; give "
                "one of them another identifier, or leave both as they are with --keep-partition",
                change.where, other.where, change.before);
        }
}

// A new identifier that another one has, or had, would be two in the middle of the work. Disks that took up
// the role before, given in another order than then and without the journal of that time, want to swap
// theirs.
void check_new(const std::vector<Identifier>& present, const std::vector<IdentifierChange>& changes) {
    for (const IdentifierChange& change : changes)
        for (const Identifier& other : present) {
            const bool itself = other.kind == change.kind && other.partition == change.partition;
            if (itself || !same_text(other.value, change.after)) continue;
            throw_error(
                Code::kRefused,
                "{} would get the identifier {}, which {} carries; give the disks in the order in which "
                "they took up the role before, or leave both as they are with --keep-partition",
                change.where, change.after, other.where);
        }
}

}  // namespace

std::string lasting_name(std::string_view what, PartitionId partition) {
    if (partition.disk == 0) return fmt::format("{} {}", what, partition.number);
    return fmt::format("{} {} of disk {}", what, partition.number, partition.disk);
}

std::vector<IdentifierChange> plan_identifiers(ItemContext& context, const std::vector<Identifier>& present,
                                               const std::set<PartitionId>& kept_partitions) {
    check_single(context.profile, present);
    std::vector<IdentifierChange> changes;
    for (const Identifier& identifier : present) {
        const bool asked = item_of(context.profile, identifier.kind).mode != Mode::kIgnore;
        if (!asked || (identifier.partition.number != 0 && kept_partitions.contains(identifier.partition)))
            continue;
        if (!identifier.fixed.empty()) {
            context.notes.push_back(
                fmt::format("{}: {}; it keeps {}", identifier.where, identifier.fixed,
                            identifier.value.empty() ? "its identifier" : identifier.value));
            continue;
        }
        const std::string after = wanted_value(context, identifier);
        if (after == identifier.value) continue;
        changes.push_back({identifier.kind, identifier.partition, identifier.value, after, identifier.where});
        context.staged.note({item_name(identifier.kind), identifier.where, identifier.value, after});
    }
    check_unique(present, changes);
    check_new(present, changes);
    return changes;
}

IdentifierMap storage_references(const std::vector<IdentifierChange>& changes,
                                 const std::vector<PartitionId>& partitions) {
    IdentifierMap map;
    for (const IdentifierChange& change : changes) {
        if (change.kind != IdentifierKind::kDiskSignature) {
            map.add(change.before, change.after);
            continue;
        }
        // MBR: PARTUUID is the signature and the number of the partition, two digits each (kernel:
        // block/partitions/msdos.c).
        for (const PartitionId id : partitions)
            if (id.disk == change.partition.disk)
                map.add(fmt::format("{}-{:02x}", change.before, id.number),
                        fmt::format("{}-{:02x}", change.after, id.number));
        map.add("0x" + change.before, "0x" + change.after);
    }
    return map;
}

}  // namespace dupengine::profiles

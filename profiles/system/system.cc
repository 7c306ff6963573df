#include "profiles/system/system.h"

#include <array>

#include "base/error.h"
#include "layout/in_use.h"

namespace dupengine::profiles {
namespace {

constexpr std::array kKinds = {IdentifierKind::kFilesystemUuid, IdentifierKind::kFatId,
                               IdentifierKind::kSwapUuid,       IdentifierKind::kPartitionGuid,
                               IdentifierKind::kDiskGuid,       IdentifierKind::kDiskSignature};

}  // namespace

const char* identifier_kind_name(IdentifierKind kind) {
    switch (kind) {
        case IdentifierKind::kFilesystemUuid:
            return "fs_uuid";
        case IdentifierKind::kFatId:
            return "fat_id";
        case IdentifierKind::kSwapUuid:
            return "swap_uuid";
        case IdentifierKind::kPartitionGuid:
            return "part_guid";
        case IdentifierKind::kDiskGuid:
            return "disk_guid";
        case IdentifierKind::kDiskSignature:
            return "disk_signature";
    }
    return "fs_uuid";
}

IdentifierKind identifier_kind_of(const std::string& name) {
    for (const IdentifierKind kind : kKinds)
        if (name == identifier_kind_name(kind)) return kind;
    throw_error(Code::kIntegrity, "'{}' is no kind of identifier", name);
}

std::vector<std::string> disk_identities(const System& system) {
    std::vector<std::string> identities(system.disk_names().size());
    for (const Identifier& identifier : system.identifiers())
        if (identifier.kind == IdentifierKind::kDiskGuid || identifier.kind == IdentifierKind::kDiskSignature)
            identities.at(identifier.partition.disk) = identifier.value;
    return identities;
}

void refuse_twins(const System& system) {
    const std::vector<std::string> identities = disk_identities(system), names = system.disk_names();
    for (std::size_t a = 0; a < names.size(); ++a)
        for (std::size_t b = a + 1; b < names.size(); ++b)
            if (identities[a] == identities[b])
                throw_error(Code::kRefused,
                            "{} and {}: carry the same disk identifier {}, so they cannot be told apart; two "
                            "copies of one disk take up their roles one by one, and other disks need an "
                            "identifier of their own first (sgdisk -G, sfdisk --disk-id)",
                            names[a], names[b], identities[a]);
}

void refuse_given_twice(const std::vector<std::string>& disks) {
    for (std::size_t a = 0; a < disks.size(); ++a)
        for (std::size_t b = a + 1; b < disks.size(); ++b)
            if (layout::same_storage(disks[a], disks[b]))
                throw_error(Code::kRefused, "{} and {}: are the same storage; name each disk once", disks[a],
                            disks[b]);
}

std::string joined(const std::vector<std::string>& names) {
    std::string all;
    for (const std::string& name : names)
        all += (all.empty() ? "" : ", ") + name;
    return all;
}

std::string partition_option(const std::vector<std::string>& disk_names, PartitionId partition) {
    if (disk_names.size() < 2) return std::to_string(partition.number);
    return fmt::format("{}:{}", disk_names.at(partition.disk), partition.number);
}

}  // namespace dupengine::profiles

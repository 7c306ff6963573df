#include "profiles/stores/partition.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/fd.h"
#include "block/open.h"
#include "layout/in_use.h"
#include "layout/incomplete_mark.h"
#include "profiles/stores/kernel_partition.h"

namespace dupengine::profiles {
namespace {

std::optional<ProfilePlace> place_in_mark(const layout::IncompleteMark& mark, std::uint32_t sector_bytes) {
    for (const auto& kept : mark.kept)
        if (kept.entry && kept.entry->type_guid == layout::type_guid::kProfile)
            return ProfilePlace{kept.extent, kept.entry->number, sector_bytes};
    return std::nullopt;
}

ProfilePlace place_or_refuse(const block::Reader& disk) {
    const auto place = find_profile_place(disk);
    if (!place)
        throw_error(Code::kRefused,
                    "{}: has no profile partition; run: dupengine profile init --store partition:{}",
                    disk.name(), disk.name());
    return *place;
}

void check_same_place(const ProfilePlace& planned, const block::Reader& disk) {
    if (find_profile_place(disk) != planned)
        throw_error(Code::kRefused, "{}: its partition table changed meanwhile; try again", disk.name());
}

// What an image is attached to has caches of its own over the same bytes.
void check_image_is_free(const std::string& path) {
    const auto uses = layout::find_uses(path);
    if (!uses.empty()) throw_error(Code::kRefused, "{}: is in use: {}", path, uses.front().detail);
}

// When somebody has written to a disk, udev has its table read again, and for a moment it has no partitions.
// Who holds this lock is left alone (systemd's BLOCK_DEVICE_LOCKING). Others who hold it for longer have
// nothing against a profile that is written: then it goes without.
Fd keep_udev_away(const std::string& disk) {
    constexpr std::chrono::milliseconds kPatience(5000), kPause(20);
    Fd fd = open_path(disk, O_RDONLY, Code::kRefused);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(kPause);
    return fd;
}

void write_through_partition(const KernelPartition& partition, std::uint64_t disk_number,
                             const ProfilePlace& place, const block::Reader& disk, const WriteRegion& write) {
    const auto target = block::open_target(partition.node, {});
    // From here on the kernel neither moves nor deletes it: what is checked now stays true.
    const auto again = find_kernel_partition(disk_number, place.extent);
    if (!again || again->device_number != partition.device_number ||
        block::identify(partition.node).device_number != partition.device_number ||
        target->geometry().size_bytes != place.extent.size())
        throw_error(Code::kRefused, "{}: is not, or no longer, the profile partition of {}; try again",
                    partition.node, disk.name());
    check_same_place(place, disk);
    write(*target, {0, place.extent.size()});
}

void write_through_disk(const std::string& disk, const ProfilePlace& place, const WriteRegion& write) {
    const std::uint64_t size = block::open_source(disk)->geometry().size_bytes;
    const auto target = block::open_target(
        disk, block::ProtectedRegions::all_except(place.extent, size, "the profile partition"));
    check_same_place(place, *target);
    write(*target, place.extent);
}

class PartitionStore final : public ProfileStore {
  public:
    explicit PartitionStore(const std::string& disk) : disk_(disk), name_("partition:" + disk) {}
    const std::string& name() const override { return name_; }

    Slots look() const override {
        const auto reader = block::open_source(disk_);
        return read_slots(*reader, place_or_refuse(*reader).extent);
    }
    void write(const StoredProfile& next) override {
        write_profile_partition(
            disk_, [&](block::Target& target, block::Extent region) { write_slot(target, region, next); });
    }

  private:
    std::string disk_;
    std::string name_;
};

}  // namespace

std::unique_ptr<ProfileStore> partition_store(const std::string& disk) {
    return std::make_unique<PartitionStore>(disk);
}

StoredProfile read_profile(const block::Reader& disk) {
    return newest_or_throw(read_slots(disk, place_or_refuse(disk).extent), "partition:" + disk.name());
}

void write_profile_partition(const std::string& disk, const WriteRegion& write) {
    const block::PathIdentity identity = block::identify(disk);
    const auto reader = block::open_source(disk);
    const ProfilePlace place = place_or_refuse(*reader);
    if (!identity.is_block_device) {
        check_image_is_free(disk);
        return write_through_disk(disk, place, write);
    }
    {
        const Fd lock = keep_udev_away(disk);
        if (const auto partition = find_kernel_partition(identity.device_number, place.extent))
            return write_through_partition(*partition, identity.device_number, place, *reader, write);
    }
    try {
        write_through_disk(disk, place, write);
    } catch (Error& e) {
        if (e.system_errno() == EBUSY)
            e.add_context(
                fmt::format("the kernel has no device for the profile partition, and the disk is in use; "
                            "make it read the table (partx -a {}) and try again",
                            disk));
        throw;
    }
}

std::optional<ProfilePlace> profile_place_in(const layout::PartitionTable& table,
                                             const std::string& disk_name) {
    std::optional<ProfilePlace> found;
    for (const layout::Partition& partition : table.partitions) {
        if (partition.type_guid != layout::type_guid::kProfile) continue;
        if (found)
            throw_error(Code::kRefused,
                        "{}: partitions {} and {} both have the type of a profile; remove one", disk_name,
                        *found->number, partition.number);
        found = ProfilePlace{partition.extent, partition.number, table.sector_bytes};
    }
    return found;
}

std::optional<ProfilePlace> find_profile_place(const block::Reader& disk) {
    // The table first: once it is written again, it is what counts, even if a mark is left at the end of the
    // disk.
    const auto in_mark = [&]() -> std::optional<ProfilePlace> {
        const auto mark = layout::find_mark(disk);
        return mark ? place_in_mark(*mark, disk.geometry().logical_sector_bytes) : std::nullopt;
    };
    try {
        const auto place = profile_place_in(layout::read_partition_table(disk), disk.name());
        return place ? place : in_mark();
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        const auto place = in_mark();
        if (!place) throw;
        return place;
    }
}

}  // namespace dupengine::profiles

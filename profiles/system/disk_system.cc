#include "profiles/system/disk_system.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "profiles/system/dir_tree.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/fat_tree.h"
#include "profiles/system/file_system_table.h"
#include "profiles/system/linux_files.h"

namespace dupengine::profiles {

using layout::PartitionDescription;

// The mounted file systems. Later members are built on earlier ones and go first.
struct DiskSystem::Trees {
    std::vector<PartitionLoop> loops;
    std::vector<std::unique_ptr<Tree>> parts;
    std::vector<int> mounted;  ///< descriptors of the ext ones, owned by their trees
    std::unique_ptr<CombinedTree> all;
};

namespace {

std::vector<SystemDisk> open_disks(const std::vector<std::string>& paths) {
    refuse_given_twice(paths);
    std::vector<SystemDisk> disks;
    for (const std::string& path : paths)
        disks.emplace_back(path);
    return disks;
}

std::string of_which(const std::vector<SystemDisk>& disks, std::size_t disk) {
    return disks.size() > 1 ? " of " + disks[disk].name() : "";
}

}  // namespace

DiskSystem::DiskSystem(const std::vector<std::string>& disks, const Options& options)
    : name_(joined(disks)), disks_(open_disks(disks)) {
    look_again();
    refuse_twins(*this);
    complete_what_was_cut(options.cut_uuid);
    const PartitionId root = find_root(options.root_partition);
    root_ = root.number;
    const auto holder = disks_.begin() + static_cast<std::ptrdiff_t>(root.disk);
    std::rotate(disks_.begin(), holder, holder + 1);
    look_again();
    look_at_files();
}

// Where what is mounted, and which of these file systems were not left in order.
void DiskSystem::look_at_files() {
    find_mounts();
    unreplayed_.clear();
    std::vector<PartitionId> places = {root_};
    for (const MountPoint& mount : mounts_)
        if (has_linux_files(partition(mount.partition))) places.push_back(mount.partition);
    for (const PartitionId place : places)
        if (!disks_[place.disk].was_left_in_order(place.number)) unreplayed_.push_back(place);
    let_go();
}

std::vector<std::string> DiskSystem::cut_uuid_changes(const std::vector<std::string>& paths) {
    const std::vector<SystemDisk> disks = open_disks(paths);
    std::vector<std::string> cut;
    for (std::size_t disk = 0; disk < disks.size(); ++disk)
        for (const unsigned number : disks[disk].cut_uuid_changes())
            cut.push_back(fmt::format("partition {}{}", number, of_which(disks, disk)));
    return cut;
}

std::vector<std::string> DiskSystem::unreplayed() const {
    std::vector<std::string> places;
    for (const PartitionId place : unreplayed_)
        places.push_back(spelled(place));
    return places;
}

void DiskSystem::replay() {
    // fstab itself may come out of the journal, and name another file system with one.
    while (!unreplayed_.empty()) {
        let_go();
        for (const PartitionId place : unreplayed_) {
            const SystemDisk& disk = disks_[place.disk];
            notes_.push_back(spelled(place) + ": " + disk.put_in_order(place.number));
            if (!disk.was_left_in_order(place.number))
                throw_error(Code::kIntegrity, "{}: replaying its journal leaves it unclean; check it (fsck)",
                            label(place));
        }
        look_again();
        look_at_files();
    }
}

DiskSystem::~DiskSystem() = default;

void DiskSystem::look_again() {
    identifiers_.clear();
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        disks_[i].look_again();
        for (Identifier identifier : disks_[i].identifiers()) {
            identifier.partition.disk = i;
            identifier.where += of_disk(i);
            identifiers_.push_back(std::move(identifier));
        }
    }
}

std::string DiskSystem::of_disk(std::size_t disk) const {
    return of_which(disks_, disk);
}

std::string DiskSystem::spelled(PartitionId id) const {
    return fmt::format("partition {}{}", id.number, of_disk(id.disk));
}

std::vector<const layout::DiskDescription*> DiskSystem::descriptions() const {
    std::vector<const layout::DiskDescription*> all;
    for (const SystemDisk& disk : disks_)
        all.push_back(&disk.description());
    return all;
}

std::vector<std::string> DiskSystem::disk_names() const {
    std::vector<std::string> names;
    for (const SystemDisk& disk : disks_)
        names.push_back(disk.name());
    return names;
}

PartitionId DiskSystem::partition_named(const std::string& given) const {
    std::set<PartitionId> found;
    const bool with_key = given.rfind("PARTLABEL=", 0) == 0 || given.rfind("PARTUUID=", 0) == 0;
    for (const std::string key : {"", "PARTLABEL=", "PARTUUID="})
        if (with_key == key.empty())
            for (const PartitionId id : partitions_meant(key + given, "", descriptions()))
                found.insert(id);
    std::set<PartitionId> numbered;
    for (const PartitionId id : partitions())
        if (given == std::to_string(id.number) ||
            given == fmt::format("{}:{}", disks_[id.disk].name(), id.number))
            numbered.insert(id);
    if (!numbered.empty()) found = numbered;
    if (found.size() == 1) return *found.begin();
    throw_error(
        Code::kRefused, "{}: '{}' names {} (a number, {}PARTLABEL=x or PARTUUID=x)", name_, given,
        found.empty() ? "no partition of it" : fmt::format("{} partitions of it, so say which", found.size()),
        disks_.size() > 1 ? "DISK:NUMBER, " : "");
}

void DiskSystem::complete_what_was_cut(CutUuid how) {
    for (std::size_t i = 0; i < disks_.size(); ++i)
        for (const unsigned number : disks_[i].cut_uuid_changes()) {
            if (how == CutUuid::kRefuse)
                throw_error(
                    Code::kRefused,
                    "{}: an earlier run was cut while it changed the UUID; without --plan it is completed",
                    disks_[i].label(number));
            notes_.push_back(spelled({i, number}) + ": " + disks_[i].put_in_order(number));
        }
    look_again();
}

bool DiskSystem::holds_system(PartitionId id) {
    const PartitionLoop loop = loop_on(id, Access::kRead);
    const DirTree tree(mount_linux_files(partition(id), loop.path(), Access::kRead, label(id)), "");
    return tree.look(resolve(tree, "/etc/os-release")).exists() || tree.look("/etc/fstab").exists();
}

PartitionId DiskSystem::find_root(const std::string& asked) {
    if (!asked.empty()) {
        const PartitionId root = partition_named(asked);
        if (!has_linux_files(partition(root)))
            throw_error(Code::kRefused, "{}: is no ext2, ext3, ext4 or XFS file system", label(root));
        return root;
    }
    std::vector<PartitionId> found;
    for (const PartitionId id : partitions())
        if (has_linux_files(partition(id)) &&
            partition(id).partition.type_guid == layout::type_guid::kRootX86_64)
            found.push_back(id);
    if (found.empty())
        for (const PartitionId id : partitions())
            if (has_linux_files(partition(id)) && holds_system(id)) found.push_back(id);
    if (found.size() == 1) return found.front();
    if (found.empty())
        throw_error(
            Code::kRefused,
            "{}: no ext2, ext3, ext4 or XFS partition of it holds a system (/etc/os-release, /etc/fstab)",
            name_);
    std::vector<std::string> options;
    for (const PartitionId id : found)
        options.push_back(partition_option(disk_names(), id));
    throw_error(Code::kRefused,
                "{}: the root could be any of the partitions {}; name it with --root-partition", name_,
                joined(options));
}

void DiskSystem::choose_order(const std::vector<std::size_t>& order) {
    if (std::is_sorted(order.begin(), order.end())) return;
    if (order.front() != 0) throw_error(Code::kInternal, "{}: the disk of the root is the first", name_);
    let_go();
    std::vector<SystemDisk> ordered;
    std::vector<std::size_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        place.at(order[i]) = i;
        ordered.push_back(std::move(disks_.at(order[i])));
    }
    disks_ = std::move(ordered);
    for (MountPoint& mount : mounts_)
        mount.partition.disk = place[mount.partition.disk];
    for (PartitionId& id : unreplayed_)
        id.disk = place[id.disk];
    look_again();
}

void DiskSystem::choose_mounts(std::vector<MountPoint> mounts) {
    std::stable_sort(mounts.begin(), mounts.end(),
                     [](const MountPoint& a, const MountPoint& b) { return a.path.size() < b.path.size(); });
    if (mounts == mounts_) return;
    let_go();
    mounts_ = std::move(mounts);
}

DiskSystem::Trees& DiskSystem::trees() {
    if (trees_) return *trees_;
    auto trees = std::make_unique<Trees>();
    const auto add = [&](PartitionId id) -> Tree& {
        trees->loops.push_back(loop_on(id, access_));
        const std::string device = trees->loops.back().path();
        if (is_fat(partition(id))) {
            trees->parts.push_back(std::make_unique<FatTree>(device, label(id)));
        } else {
            Fd folder = mount_linux_files(partition(id), device, access_, label(id));
            trees->mounted.push_back(folder.get());
            trees->parts.push_back(std::make_unique<DirTree>(std::move(folder), label(id) + ": "));
        }
        return *trees->parts.back();
    };
    trees->all = std::make_unique<CombinedTree>(add(root_));
    for (const MountPoint& mount : mounts_)
        trees->all->mount(mount.path, add(mount.partition));
    trees_ = std::move(trees);
    return *trees_;
}

namespace {

void sync_file_system(int folder, const std::string& name) {
    // fsmount(2) gives an O_PATH descriptor, which cannot be flushed.
    const Fd opened(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened.valid() || ::syncfs(opened.get()) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: flush failed", name);
}

}  // namespace

void DiskSystem::let_go() {
    if (!trees_) return;
    if (access_ == Access::kWrite) {
        for (const int folder : trees_->mounted)
            sync_file_system(folder, name_);
        trees_->all.reset();
        trees_->parts.clear();  // unmounts
        for (PartitionLoop& loop : trees_->loops)
            loop.flush();
    }
    trees_.reset();
}

Tree& DiskSystem::root() {
    return *trees().parts.front();
}
Tree& DiskSystem::tree() {
    return *trees().all;
}
std::string DiskSystem::file_system_of(const std::string& path) {
    return trees().all->mount_point_of(path);
}

std::vector<PartitionId> DiskSystem::partitions() const {
    std::vector<PartitionId> all;
    for (std::size_t i = 0; i < disks_.size(); ++i)
        for (const PartitionDescription& part : disks_[i].description().partitions)
            all.push_back({i, part.partition.number});
    return all;
}

std::vector<IdentifierChange> DiskSystem::of_one(const std::vector<IdentifierChange>& changes,
                                                 std::size_t disk) const {
    std::vector<IdentifierChange> its;
    for (const IdentifierChange& change : changes)
        if (change.partition.disk == disk) its.push_back(change);
    return its;
}

void DiskSystem::open_for_writing(const std::vector<IdentifierChange>& identifiers) {
    let_go();
    // All or none: what one of them says may stop the whole, and then no file system was repaired either.
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].claim(of_one(identifiers, i));
    look_again();
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].check_contents(of_one(identifiers, i));
    for (const MountPoint& mount : mounts_) {
        if (!is_fat(partition(mount.partition))) continue;
        PartitionLoop loop = loop_on(mount.partition, Access::kWrite);
        if (FatTree::is_in_order(loop.path())) continue;
        FatTree::repair(loop.path(), label(mount.partition));
        loop.flush();
    }
    access_ = Access::kWrite;
}

void DiskSystem::set_identifiers(const std::vector<IdentifierChange>& identifiers) {
    let_go();
    for (const IdentifierChange& change : identifiers)
        disks_.at(change.partition.disk).set_in_partition(change);
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].set_in_table(of_one(identifiers, i));
    look_again();
}

void DiskSystem::close() {
    let_go();
    for (SystemDisk& disk : disks_)
        disk.release();
    access_ = Access::kRead;
}

}  // namespace dupengine::profiles

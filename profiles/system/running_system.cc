#include "profiles/system/running_system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "profiles/system/disk_identifiers.h"
#include "profiles/system/linux_files.h"
#include "profiles/system/mounted_ext.h"
#include "profiles/system/partition_loop.h"

namespace dupengine::profiles {

// Later members are built on earlier ones and go first.
struct RunningSystem::Trees {
    std::map<PartitionId, std::unique_ptr<DirTree>> parts;
    std::unique_ptr<CombinedTree> all;
};

namespace {

std::vector<RunningDisk> open_disks(const std::vector<std::string>& paths, const block::Media& media) {
    refuse_given_twice(paths);
    std::vector<RunningDisk> disks;
    for (const std::string& path : paths)
        disks.emplace_back(path, media);
    return disks;
}

bool is_mounted_read_only(const DirTree& tree) {
    struct statvfs state {};
    return ::fstatvfs(tree.fd(), &state) != 0 || (state.f_flag & ST_RDONLY) != 0;
}

// Of a detached mount there is an O_PATH descriptor, which cannot be flushed.
void sync_file_system(const DirTree& tree, const std::string& name) {
    const Fd opened(::openat(tree.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened.valid() || ::syncfs(opened.get()) != 0)
        throw_errno(Code::kTargetIo, errno, "{}: flush failed", name);
}

}  // namespace

RunningSystem::RunningSystem(const std::vector<std::string>& disks, const Options& options)
    : name_(joined(disks)),
      folder_(options.root),
      disks_(open_disks(disks, options.media)),
      own_mounts_(own_mounts(options.root)) {
    const PartitionId root = find_root();
    const auto holder = disks_.begin() + static_cast<std::ptrdiff_t>(root.disk);
    std::rotate(disks_.begin(), holder, holder + 1);
    root_ = root.number;
    for (const OwnMount& mount : own_mounts_)
        if (const auto id = partition_of(mount.device); id && mount.subtree == "/")
            mounted_at_.try_emplace(*id, mount.path);
    find_mounts();
    learn_identifiers();
    refuse_twins(*this);
}

RunningSystem::~RunningSystem() = default;

std::optional<PartitionId> RunningSystem::partition_of(std::uint64_t device_number) const {
    for (std::size_t i = 0; i < disks_.size(); ++i)
        if (const auto number = disks_[i].number_of(device_number)) return PartitionId{i, *number};
    return std::nullopt;
}

PartitionId RunningSystem::find_root() {
    const auto mount = std::find_if(own_mounts_.begin(), own_mounts_.end(),
                                    [](const OwnMount& one) { return one.path == "/"; });
    if (mount == own_mounts_.end()) throw_error(Code::kRefused, "{}: nothing is mounted here", folder_);
    const auto id = partition_of(mount->device);
    if (!id || mount->subtree != "/")
        throw_error(
            Code::kRefused,
            "{}: the root file system ({}) is on no partition of {}; a running system takes up its role "
            "where that is so",
            folder_, mount->type, name_);
    if (!has_linux_files(partition(*id)))
        throw_error(Code::kRefused, "{}: is {}, and no ext2, ext3, ext4 or XFS file system", label(*id),
                    mount->type);
    return *id;
}

std::vector<const layout::DiskDescription*> RunningSystem::descriptions() const {
    std::vector<const layout::DiskDescription*> all;
    for (const RunningDisk& disk : disks_)
        all.push_back(&disk.description());
    return all;
}

std::vector<std::string> RunningSystem::disk_names() const {
    std::vector<std::string> names;
    for (const RunningDisk& disk : disks_)
        names.push_back(disk.name());
    return names;
}

std::vector<PartitionId> RunningSystem::partitions() const {
    std::vector<PartitionId> all;
    for (std::size_t i = 0; i < disks_.size(); ++i)
        for (const layout::PartitionDescription& part : disks_[i].description().partitions)
            all.push_back({i, part.partition.number});
    return all;
}

std::string RunningSystem::of_disk(std::size_t disk) const {
    return disks_.size() > 1 ? " of " + disks_[disk].name() : "";
}

void RunningSystem::choose_order(const std::vector<std::size_t>& order) {
    if (std::is_sorted(order.begin(), order.end())) return;
    if (order.front() != 0) throw_error(Code::kInternal, "{}: the disk of the root is the first", name_);
    let_go();
    std::vector<RunningDisk> ordered;
    std::vector<std::size_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        place.at(order[i]) = i;
        ordered.push_back(std::move(disks_.at(order[i])));
    }
    disks_ = std::move(ordered);
    for (MountPoint& mount : mounts_)
        mount.partition.disk = place[mount.partition.disk];
    std::map<PartitionId, std::string> mounted_at;
    for (const auto& [id, path] : mounted_at_)
        mounted_at[{place[id.disk], id.number}] = path;
    mounted_at_ = std::move(mounted_at);
    learn_identifiers();
}

void RunningSystem::choose_mounts(std::vector<MountPoint> mounts) {
    std::stable_sort(mounts.begin(), mounts.end(),
                     [](const MountPoint& a, const MountPoint& b) { return a.path.size() < b.path.size(); });
    if (mounts == mounts_) return;
    let_go();
    mounts_ = std::move(mounts);
}

Fd RunningSystem::open_part(PartitionId id) {
    const auto node = disks_.at(id.disk).node_of(id.number);
    if (!node) throw_error(Code::kRefused, "{}: the kernel that runs does not know it", label(id));
    if (const auto there = mounted_at_.find(id); there != mounted_at_.end())
        return mount_again(folder_ == "/" ? there->second : folder_ + there->second, node->device_number);
    const Access access = writing_ ? Access::kWrite : Access::kRead;
    return is_fat(partition(id)) ? mount_fat(node->node, access, label(id))
                                 : mount_linux_files(partition(id), node->node, access, label(id));
}

RunningSystem::Trees& RunningSystem::trees() {
    if (trees_) return *trees_;
    auto trees = std::make_unique<Trees>();
    const auto add = [&](PartitionId id) -> Tree& {
        const auto keeps = is_fat(partition(id)) ? DirTree::Keeps::kContent : DirTree::Keeps::kEverything;
        auto& part = trees->parts[id];
        part = std::make_unique<DirTree>(open_part(id), label(id) + ": ", keeps);
        return *part;
    };
    trees->all = std::make_unique<CombinedTree>(add(root_));
    for (const MountPoint& mount : mounts_)
        trees->all->mount(mount.path, add(mount.partition));
    trees_ = std::move(trees);
    return *trees_;
}

void RunningSystem::let_go() {
    if (trees_ && writing_)
        for (const auto& [id, tree] : trees_->parts)
            sync_file_system(*tree, label(id));
    trees_.reset();
}

Tree& RunningSystem::root() {
    return *trees().parts.at(root_);
}
Tree& RunningSystem::tree() {
    return *trees().all;
}
std::string RunningSystem::file_system_of(const std::string& path) {
    return trees().all->mount_point_of(path);
}

void RunningSystem::learn_identifiers() {
    identifiers_.clear();
    for (std::size_t i = 0; i < disks_.size(); ++i)
        for (Identifier identifier : disks_[i].identifiers()) {
            identifier.partition.disk = i;
            identifier.where += of_disk(i);
            if (identifier.kind == IdentifierKind::kFilesystemUuid && identifier.fixed.empty())
                ask_kernel(identifier);
            identifiers_.push_back(std::move(identifier));
        }
}

// The superblock on the medium is older than what the journal has.
void RunningSystem::ask_kernel(Identifier& identifier) {
    const PartitionId id = identifier.partition;
    const auto part = trees().parts.find(id);
    if (part == trees().parts.end()) {
        identifier.fixed =
            "is not mounted, and dupengine assume --disk changes it while the system does not run";
        return;
    }
    const auto medium = disks_[id.disk].medium();
    identifier.fixed = why_mounted_uuid_is_fixed(
        block::Window(*medium, partition(id).partition.extent, label(id)), part->second->fd());
    if (const auto uuid = mounted_ext_uuid(part->second->fd())) identifier.value = *uuid;
}

std::vector<IdentifierChange> RunningSystem::of_one(const std::vector<IdentifierChange>& changes,
                                                    std::size_t disk) const {
    std::vector<IdentifierChange> its;
    for (const IdentifierChange& change : changes)
        if (change.partition.disk == disk) its.push_back(change);
    return its;
}

void RunningSystem::open_for_writing(const std::vector<IdentifierChange>& identifiers) {
    let_go();
    Fd lock = open_path(folder_, O_RDONLY | O_DIRECTORY, Code::kRefused);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
        throw_error(Code::kRefused, "{}: another program is changing it", name_);
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].check_writable(of_one(identifiers, i));
    for (const IdentifierChange& change : identifiers)
        for (const Identifier& present : identifiers_)
            if (present.kind == change.kind && present.partition == change.partition &&
                !present.fixed.empty())
                throw_error(Code::kRefused, "{}: {}: {}", name_, present.where, present.fixed);
    for (const auto& [id, path] : mounted_at_)
        if (trees().parts.contains(id) && is_mounted_read_only(*trees().parts.at(id)))
            throw_error(Code::kRefused, "{}: is mounted read-only at {}", label(id), path);
    let_go();
    lock_ = std::move(lock);
    writing_ = true;
}

void RunningSystem::set_identifiers(const std::vector<IdentifierChange>& identifiers) {
    for (const IdentifierChange& change : identifiers) {
        disks_.at(change.partition.disk).set_in_partition(change);
        if (change.kind != IdentifierKind::kFilesystemUuid) continue;
        const auto part = trees().parts.find(change.partition);
        if (part == trees().parts.end())
            throw_error(Code::kRefused, "{}: is not mounted, so its UUID cannot be changed here",
                        label(change.partition));
        set_mounted_ext_uuid(part->second->fd(), change.after, label(change.partition));
    }
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].set_in_table(of_one(identifiers, i));
    for (std::size_t i = 0; i < disks_.size(); ++i)
        disks_[i].check_medium(of_one(identifiers, i));
    learn_identifiers();
}

void RunningSystem::close() {
    let_go();
    writing_ = false;
    lock_ = {};
}

}  // namespace dupengine::profiles

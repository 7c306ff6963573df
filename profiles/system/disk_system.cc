#include "profiles/system/disk_system.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "layout/in_use.h"
#include "profiles/system/dir_tree.h"
#include "profiles/system/disk_identifiers.h"
#include "profiles/system/ext_identity.h"
#include "profiles/system/fat_tree.h"
#include "profiles/system/file_system_table.h"

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

void refuse_if_used(const std::string& disk) {
    for (const layout::Use& use : layout::find_uses(disk))
        throw_error(Code::kRefused, "{}: in use: {}: {}", disk, use.device, use.detail);
}

}  // namespace

DiskSystem::DiskSystem(const std::string& disk, const Options& options) : name_(disk) {
    refuse_if_used(disk);
    look_again(*block::open_source(disk));
    complete_what_was_cut(options.cut_uuid);
    root_ = find_root(options.root_partition);
    look_at_files();
}

// Where what is mounted, and which of these file systems were not left in order.
void DiskSystem::look_at_files() {
    find_mounts();
    unreplayed_.clear();
    std::vector<unsigned> numbers = {root_};
    for (const MountPoint& mount : mounts_)
        if (is_ext(partition(mount.partition))) numbers.push_back(mount.partition);
    for (const unsigned number : numbers)
        if (!state_of(number).is_clean) unreplayed_.push_back(number);
    let_go();
}

std::vector<unsigned> DiskSystem::cut_uuid_changes(const std::string& disk) {
    refuse_if_used(disk);
    const auto reader = block::open_source(disk);
    std::vector<unsigned> numbers;
    for (const PartitionDescription& part : layout::describe_disk(*reader, layout::Depth::kTable).partitions)
        if (is_ext(part) && read_ext_state(block::Window(*reader, part.partition.extent, disk)).was_cut)
            numbers.push_back(part.partition.number);
    return numbers;
}

void DiskSystem::replay() {
    // fstab itself may come out of the journal, and name another file system with one.
    while (!unreplayed_.empty()) {
        let_go();
        for (const unsigned number : unreplayed_) {
            put_in_order(number);
            if (!state_of(number).is_clean)
                throw_error(Code::kIntegrity, "{}: e2fsck -p leaves it unclean; run e2fsck -f on it",
                            label(number));
        }
        look_again(*block::open_source(name_));
        look_at_files();
    }
}

DiskSystem::~DiskSystem() = default;

void DiskSystem::look_again(const block::Reader& disk) {
    description_ = layout::describe_disk(disk, layout::Depth::kTable);
    if (description_.incomplete)
        throw_error(Code::kRefused, "{}: a copy onto it was begun and has not finished; complete it first",
                    name_);
    if (!description_.damaged_table.empty())
        throw_error(Code::kRefused, "{}: its partition table is damaged: {}", name_,
                    description_.damaged_table);
    if (description_.table.kind == layout::TableKind::kNone)
        throw_error(Code::kRefused, "{}: has no partition table, so there is no system disk to work on",
                    name_);
    identifiers_ = list_identifiers(disk, description_);
}

const PartitionDescription& DiskSystem::partition(unsigned number) const {
    const PartitionDescription* found = description_.by_number(number);
    if (found == nullptr) throw_error(Code::kRefused, "{}: there is no partition {}", name_, number);
    return *found;
}

unsigned DiskSystem::partition_named(const std::string& given) const {
    std::set<unsigned> found;
    const bool with_key = given.rfind("PARTLABEL=", 0) == 0 || given.rfind("PARTUUID=", 0) == 0;
    for (const std::string key : {"", "PARTLABEL=", "PARTUUID="})
        if (with_key == key.empty())
            for (const unsigned number : partitions_meant(key + given, "", description_))
                found.insert(number);
    for (const PartitionDescription& part : description_.partitions)
        if (given == std::to_string(part.partition.number)) found = {part.partition.number};
    if (found.size() == 1) return *found.begin();
    throw_error(Code::kRefused, "{}: '{}' names {} (a number, PARTLABEL=x or PARTUUID=x)", name_, given,
                found.empty() ? "no partition of it"
                              : fmt::format("{} partitions of it, so say which", found.size()));
}

std::string DiskSystem::label(unsigned number) const {
    return fmt::format("{}, partition {}", name_, number);
}

PartitionLoop DiskSystem::loop_on(unsigned number, Access access) const {
    return {name_, partition(number).partition.extent, description_.table.sector_bytes, access};
}

ExtState DiskSystem::state_of(unsigned number) const {
    const auto disk = block::open_source(name_);
    return read_ext_state(block::Window(*disk, partition(number).partition.extent, label(number)));
}

void DiskSystem::put_in_order(unsigned number) {
    const ExtState state = state_of(number);
    // Nobody but this loop device may write while we hold the disk.
    const auto claim = block::open_target(
        name_,
        block::ProtectedRegions::all_except(block::ExtentSet{}, description_.geometry.size_bytes, "nothing"));
    PartitionLoop loop = loop_on(number, Access::kWrite);
    repair_ext(loop.path(), state, label(number));
    loop.flush();
    notes_.push_back(fmt::format(
        "partition {}: {}", number,
        state.was_cut ? "the change of its UUID, which was cut, is completed" : "journal replayed"));
}

void DiskSystem::complete_what_was_cut(CutUuid how) {
    for (const PartitionDescription& part : description_.partitions) {
        if (!is_ext(part) || !state_of(part.partition.number).was_cut) continue;
        if (how == CutUuid::kRefuse)
            throw_error(
                Code::kRefused,
                "{}: an earlier run was cut while it changed the UUID; without --plan it is completed",
                label(part.partition.number));
        put_in_order(part.partition.number);
    }
    look_again(*block::open_source(name_));
}

bool DiskSystem::holds_system(const PartitionDescription& part) {
    const PartitionLoop loop = loop_on(part.partition.number, Access::kRead);
    const DirTree tree(mount_ext(loop.path(), Access::kRead, label(part.partition.number)), "");
    return tree.look(resolve(tree, "/etc/os-release")).exists() || tree.look("/etc/fstab").exists();
}

unsigned DiskSystem::find_root(const std::optional<unsigned>& asked) {
    if (asked) {
        if (!is_ext(partition(*asked)))
            throw_error(Code::kRefused, "{}: is no ext2, ext3 or ext4 file system", label(*asked));
        return *asked;
    }
    std::vector<unsigned> found;
    for (const PartitionDescription& part : description_.partitions)
        if (is_ext(part) && part.partition.type_guid == layout::type_guid::kRootX86_64)
            found.push_back(part.partition.number);
    if (found.empty())
        for (const PartitionDescription& part : description_.partitions)
            if (is_ext(part) && holds_system(part)) found.push_back(part.partition.number);
    if (found.size() == 1) return found.front();
    if (found.empty())
        throw_error(Code::kRefused,
                    "{}: no ext2, ext3 or ext4 partition of it holds a system (/etc/os-release, /etc/fstab)",
                    name_);
    std::string numbers;
    for (const unsigned number : found)
        numbers += fmt::format("{}{}", numbers.empty() ? "" : ", ", number);
    throw_error(Code::kRefused,
                "{}: the root could be any of the partitions {}; name it with --root-partition", name_,
                numbers);
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
    const auto add = [&](unsigned number) -> Tree& {
        trees->loops.push_back(loop_on(number, access_));
        const std::string device = trees->loops.back().path();
        if (is_fat(partition(number))) {
            trees->parts.push_back(std::make_unique<FatTree>(device, label(number)));
        } else {
            Fd folder = mount_ext(device, access_, label(number));
            trees->mounted.push_back(folder.get());
            trees->parts.push_back(std::make_unique<DirTree>(std::move(folder), label(number) + ": "));
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

std::vector<unsigned> DiskSystem::partition_numbers() const {
    std::vector<unsigned> numbers;
    for (const PartitionDescription& part : description_.partitions)
        numbers.push_back(part.partition.number);
    return numbers;
}

void DiskSystem::open_for_writing(const std::vector<IdentifierChange>& identifiers) {
    let_go();
    const auto disk = block::open_source(name_);
    const block::ExtentSet writable = identifier_extents(*disk, description_, identifiers);
    target_ = block::open_target(
        name_, block::ProtectedRegions::all_except(writable, description_.geometry.size_bytes,
                                                   "the identifiers to be changed"));
    look_again(*target_);
    for (const IdentifierChange& change : identifiers) {
        if (change.kind != IdentifierKind::kFilesystemUuid) continue;
        const ExtState state = read_ext_state(
            block::Window(*target_, partition(change.partition).partition.extent, change.where));
        const PartitionLoop loop = loop_on(change.partition, Access::kWrite);
        if (state.full_check_first)
            check_ext(loop.path(), label(change.partition));
        else
            repair_ext(loop.path(), state, label(change.partition));
    }
    for (const MountPoint& mount : mounts_) {
        if (!is_fat(partition(mount.partition))) continue;
        PartitionLoop loop = loop_on(mount.partition, Access::kWrite);
        if (FatTree::is_in_order(loop.path())) continue;
        FatTree::repair(loop.path(), label(mount.partition));
        loop.flush();
    }
    access_ = Access::kWrite;
}

// The table's identifiers are set all at once, by set_table_identifiers: they belong to no partition's
// content.
void DiskSystem::set_one(const IdentifierChange& change) {
    const bool in_partition = change.kind == IdentifierKind::kFatId ||
                              change.kind == IdentifierKind::kSwapUuid ||
                              change.kind == IdentifierKind::kFilesystemUuid;
    if (!in_partition) return;
    const block::Extent place = partition(change.partition).partition.extent;
    if (change.kind == IdentifierKind::kFatId) return set_fat_id(*target_, place, change.after);
    if (change.kind == IdentifierKind::kSwapUuid) return set_swap_uuid(*target_, place, change.after);
    PartitionLoop loop = loop_on(change.partition, Access::kWrite);
    const ExtState state = read_ext_state(block::Window(*target_, place, change.where));
    set_ext_uuid(loop.path(), state, change.after, label(change.partition));
    loop.flush();
}

void DiskSystem::set_identifiers(const std::vector<IdentifierChange>& identifiers) {
    let_go();
    for (const IdentifierChange& change : identifiers)
        set_one(change);
    set_table_identifiers(*target_, identifiers);
    look_again(*target_);
}

void DiskSystem::close() {
    let_go();
    if (target_) target_->flush();
    target_.reset();
    access_ = Access::kRead;
}

}  // namespace dupengine::profiles

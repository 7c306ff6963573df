#include "tests/support/fake_system.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/error.h"
#include "profiles/references/cpio.h"

namespace dupengine::test {

using profiles::Identifier;
using profiles::IdentifierChange;
using profiles::IdentifierKind;
using profiles::Node;
using profiles::NodeKind;

void PowerCut::before() {
    ++writes;
    if (is_now() && how == How::kBeforeTheWrite) throw Happened{};
}

void PowerCut::after() {
    if (is_now()) throw Happened{};
}

Node MemoryTree::look(const std::string& path) const {
    if (path == "/") return Node::folder(0755);
    const auto found = nodes_.find(path);
    if (found == nodes_.end()) return {};
    Node node = found->second;
    node.content.reset();
    return node;
}

Node MemoryTree::take(const std::string& path) const {
    if (path == "/") return Node::folder(0755);
    const auto found = nodes_.find(path);
    if (found == nodes_.end()) return {};
    if (found->second.size_bytes > kFileLimit) throw_error(Code::kRefused, "{}: is too large", path);
    return found->second;
}

std::vector<std::string> MemoryTree::list(const std::string& path) const {
    std::vector<std::string> names;
    for (const auto& [key, node] : nodes_)
        if (profiles::parent_of(key) == path) names.push_back(profiles::leaf_of(key));
    return names;
}

void MemoryTree::put(const std::string& path, const Node& node) {
    if (!look(profiles::parent_of(path)).exists())
        throw_error(Code::kRefused, "{}: its folder is not there", path);
    power_.before();
    // What FAT may show after a cut, and what an atomic replacement never shows.
    if (power_.is_now() && power_.how == PowerCut::How::kTornWrite) {
        if (is_fat_) nodes_.erase(path);
        throw PowerCut::Happened{};
    }
    if (node.exists())
        nodes_[path] = as_stored(path, node);
    else if (!list(path).empty())
        throw_error(Code::kTargetIo, "{}: is not empty", path);
    else
        nodes_.erase(path);
    power_.after();
}

// What fsck.fat may leave of a rename that was cut: at the old place, at the new one, at both but one of them
// empty, nowhere, or under a short name alone.
void MemoryTree::tear(const std::string& from, const std::string& to) {
    std::map<std::string, Node> torn;
    unsigned kind = power_.writes;
    for (const auto& [path, node] : nodes_) {
        if (!profiles::is_within(path, from)) {
            torn[path] = node;
            continue;
        }
        const std::string rest = path.substr(from.size());
        const bool folder = node.kind == NodeKind::kFolder;
        ++kind;
        if (folder ? kind % 2 == 0 : kind % 4 == 0) torn[path] = node;
        if (folder ? kind % 2 == 1 : kind % 4 == 1) torn[to + rest] = node;
        if (!folder && kind % 4 == 2) {
            torn[path] = node;
            torn[to + rest] = node.with_content("");
        }
        if (!folder && kind % 4 == 3 && rest.empty()) torn[profiles::parent_of(path) + "/SHORT~1.CON"] = node;
    }
    nodes_.clear();
    for (const auto& [path, node] : torn)  // parents first
        if (const std::string above = profiles::parent_of(path); above == "/" || nodes_.contains(above))
            nodes_[path] = node;
}

void MemoryTree::rename(const std::string& from, const std::string& to) {
    if (look(to).exists()) throw_error(Code::kTargetIo, "{}: exists", to);
    power_.before();
    if (is_fat_ && power_.is_now() && power_.how == PowerCut::How::kTornWrite) {
        tear(from, to);
        throw PowerCut::Happened{};
    }
    std::map<std::string, Node> renamed;
    for (const auto& [path, node] : nodes_)
        renamed[profiles::is_within(path, from) ? to + path.substr(from.size()) : path] = node;
    nodes_ = std::move(renamed);
    power_.after();
}

Node MemoryTree::as_stored(const std::string& path, const Node& node) const {
    if (!is_fat_) return node;
    if (node.kind == NodeKind::kLink) throw_error(Code::kRefused, "{}: no links here", path);
    Node stored = node;
    stored.mode = 0755;
    stored.uid = stored.gid = 0;
    return stored;
}

void MemoryTree::add_folder(const std::string& path) {
    if (path == "/" || nodes_.contains(path)) return;
    add_folder(profiles::parent_of(path));
    nodes_[path] = Node::folder(0755);
}

void MemoryTree::add(const std::string& path, const std::string& content, unsigned mode) {
    add_folder(profiles::parent_of(path));
    nodes_[path] = as_stored(path, Node::file(content, mode));
}

void MemoryTree::add_huge(const std::string& path, std::uint64_t size_bytes) {
    add(path, "");
    nodes_[path].size_bytes = size_bytes;
}

void MemoryTree::add_link(const std::string& path, const std::string& target) {
    add_folder(profiles::parent_of(path));
    nodes_[path] = Node::link(target);
}

std::string MemoryTree::text(const std::string& path) const {
    const Node node = take(path);
    return node.content ? *node.content : std::string();
}

std::string MemoryTree::picture(const std::string& without) const {
    std::string all;
    for (const auto& [path, node] : nodes_) {
        if (!without.empty() && profiles::is_within(path, without)) continue;
        all += fmt::format("{} {} {:o} {}:{} {}{}\n", path, node_kind_name(node.kind), node.mode, node.uid,
                           node.gid, node.link_target, node.content ? *node.content : "");
    }
    return all;
}

FakeSystem::FakeSystem() {
    joined_.mount("/boot/efi", boot_files);
}

void FakeSystem::set_identifiers(const std::vector<IdentifierChange>& changes) {
    for (const IdentifierChange& change : changes)
        for (Identifier& identifier : ids)
            if (identifier.kind == change.kind && identifier.partition == change.partition &&
                identifier.value != change.after) {
                power.before();
                identifier.value = change.after;
                power.after();
            }
}

void FakeSystem::choose_order(const std::vector<std::size_t>& order) {
    std::vector<std::size_t> place(order.size());
    std::vector<std::string> ordered;
    for (std::size_t i = 0; i < order.size(); ++i) {
        place.at(order[i]) = i;
        ordered.push_back(names.at(order[i]));
    }
    names = ordered;
    for (Identifier& identifier : ids)
        identifier.partition.disk = place.at(identifier.partition.disk);
    for (profiles::PartitionId& part : parts)
        part.disk = place.at(part.disk);
    for (profiles::MountPoint& mount : mounted)
        mount.partition.disk = place.at(mount.partition.disk);
}

std::string FakeSystem::picture() const {
    return picture_of_system() + root_files.picture();
}

std::string FakeSystem::picture_of_system() const {
    std::string all = root_files.picture("/var/lib/dupengine") + boot_files.picture();
    for (const Identifier& identifier : ids)
        all += fmt::format("{} {} {}\n", identifier_kind_name(identifier.kind), identifier.partition.number,
                           identifier.value);
    return all;
}

namespace {

std::string initramfs() {
    return profiles::encode_cpio(
        {{"conf", S_IFDIR | 0755, 0, 0, 0, ""},
         {"conf/conf.d/resume", S_IFREG | 0644, 0, 0, 0, "RESUME=UUID=" + kGoldenSwap + "\n"},
         {"init", S_IFREG | 0755, 0, 0, 0, "#!/bin/sh\n"}});
}

void fill_root(MemoryTree& root) {
    root.add("/etc/hostname", "golden\n");
    root.add("/etc/hosts",
             "127.0.0.1\tlocalhost\n127.0.1.1\tgolden.example golden # golden\n10.0.0.9 goldenrod\n");
    root.add("/etc/mailname", "golden.example\n");
    root.add("/etc/machine-id", kGoldenMachine + "\n", 0444);
    root.add("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1001:Ops:/home/ops:/bin/sh\n");
    root.add("/etc/fstab", "UUID=" + kGoldenRoot + " / ext4 defaults 0 1\nUUID=" + kGoldenEsp +
                               " /boot/efi vfat umask=0077 0 1\n/dev/disk/by-uuid/" + kGoldenSwap +
                               " none swap sw 0 0\n");
    root.add("/etc/default/grub", "GRUB_CMDLINE_LINUX=\"root=PARTUUID=" + kGoldenRootPart + "\"\n");
    root.add("/etc/kernel/cmdline", "root=UUID=" + kGoldenRoot + " ro\n");
    root.add("/etc/initramfs-tools/conf.d/resume", "RESUME=UUID=" + kGoldenSwap + "\n");
    root.add("/etc/ssh/ssh_host_rsa_key", "the source's\n", 0600);
    root.add("/etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB root@golden\n");
    root.add("/etc/ssh/sshd_config", "PermitRootLogin no\n");
    root.add(
        "/etc/systemd/system/dev-disk-by\\x2duuid-bbbbbbbb\\x2d2222\\x2d4222\\x2d8222\\x2dbbbbbbbbbbbb.swap",
        "[Swap]\nWhat=/dev/disk/by-uuid/" + kGoldenSwap + "\n");
    root.add_link(
        "/etc/systemd/system/swap.target.wants/"
        "dev-disk-by\\x2duuid-bbbbbbbb\\x2d2222\\x2d4222\\x2d8222\\x2dbbbbbbbbbbbb.swap",
        "/etc/systemd/system/dev-disk-by\\x2duuid-bbbbbbbb\\x2d2222\\x2d4222\\x2d8222\\x2dbbbbbbbbbbbb.swap");
    root.add_link("/etc/systemd/system/multi-user.target.wants/old.service",
                  "/usr/lib/systemd/system/old.service");
    root.add("/usr/lib/systemd/system/old.service", "[Install]\nWantedBy=multi-user.target\n");
    root.add("/usr/lib/systemd/system/web.service",
             "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n");
    root.add_link("/lib", "usr/lib");
    root.add("/var/lib/systemd/random-seed", std::string(512, 's'), 0600);
    root.add_folder("/root");
    root.add_folder("/home/ops");
    root.add("/boot/grub/grub.cfg", "search --fs-uuid --set=root " + kGoldenRoot +
                                        "\nlinux /vmlinuz root=UUID=" + kGoldenRoot + "\n");
    std::string environment = "# GRUB Environment Block\nsaved_entry=gnulinux-" + kGoldenRoot + "\n";
    environment.resize(1024, '#');
    root.add("/boot/grub/grubenv", environment);
    root.add("/boot/initrd.img-6.1", initramfs());
    root.add("/boot/vmlinuz-6.1", std::string("MZ\0kernel", 9));
}

}  // namespace

void fill_golden(FakeSystem& system) {
    fill_root(system.root_files);
    MemoryTree& boot = system.boot_files;
    boot.add("/EFI/debian/grub.cfg", "search.fs_uuid " + kGoldenRoot + " root hd0,gpt2\n");
    boot.add("/loader/loader.conf", "default " + kGoldenMachine + "-*\n");
    boot.add("/loader/random-seed", std::string(32, 's'));
    boot.add("/loader/entries/" + kGoldenMachine + "-6.1.conf",
             "machine-id " + kGoldenMachine + "\nlinux /" + kGoldenMachine + "/6.1/linux\ninitrd /" +
                 kGoldenMachine + "/6.1/initrd.img\noptions root=UUID=" + kGoldenRoot +
                 " resume=UUID=" + kGoldenSwap + "\n");
    boot.add("/" + kGoldenMachine + "/6.1/linux", std::string("MZ\0kernel", 9));
    boot.add("/" + kGoldenMachine + "/6.1/initrd.img", initramfs());
    system.ids = {{IdentifierKind::kFatId, 1, kGoldenEsp, "partition 1 (vfat)", {}},
                  {IdentifierKind::kFilesystemUuid, 2, kGoldenRoot, "partition 2 (ext4)", {}},
                  {IdentifierKind::kSwapUuid, 3, kGoldenSwap, "partition 3 (swap)", {}},
                  {IdentifierKind::kPartitionGuid, 2, kGoldenRootPart, "partition 2", {}},
                  {IdentifierKind::kDiskGuid, 0, kGoldenDisk, "the disk", {}}};
}

void spread_over_three_disks(FakeSystem& system) {
    const std::string boot = "12121212-7777-4777-8777-121212121212",
                      data = "34343434-8888-4888-8888-343434343434";
    system.names = {"first", "second", "third"};
    system.parts = {{0, 2}, {1, 1}, {1, 3}, {2, 1}, {2, 2}};
    system.mounted = {{"/boot/efi", {1, 1}}};
    system.ids[0].partition = {1, 1};
    system.ids[2].partition = {1, 3};
    system.ids.push_back({IdentifierKind::kDiskGuid, {1, 0}, boot, "the disk of second", {}});
    system.ids.push_back({IdentifierKind::kFilesystemUuid, {2, 1}, kGoldenHome, "partition 1 of third", {}});
    system.ids.push_back({IdentifierKind::kPartitionGuid, {2, 2}, kGoldenVaultPart, "entry 2 of third", {}});
    system.ids.push_back({IdentifierKind::kDiskGuid, {2, 0}, data, "the disk of third", {}});
    MemoryTree& root = system.root_files;
    root.add("/etc/fstab", root.text("/etc/fstab") + "UUID=" + kGoldenHome + " /home ext4 defaults 0 2\n");
    root.add("/etc/crypttab", "vault PARTUUID=" + kGoldenVaultPart + " none luks\n");
    root.add("/etc/systemd/system/srv.mount",
             "[Mount]\nWhat=/dev/disk/by-uuid/" + kGoldenHome + "\nWhere=/srv\n");
}

void take_disk_away(FakeSystem& system, std::size_t disk) {
    std::erase_if(system.ids,
                  [&](const Identifier& identifier) { return identifier.partition.disk == disk; });
    std::erase_if(system.parts, [&](profiles::PartitionId part) { return part.disk == disk; });
    system.names.erase(system.names.begin() + static_cast<std::ptrdiff_t>(disk));
    for (Identifier& identifier : system.ids)
        identifier.partition.disk -= identifier.partition.disk > disk;
    for (profiles::PartitionId& part : system.parts)
        part.disk -= part.disk > disk;
}

}  // namespace dupengine::test

#include "profiles/system/file_system_table.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace dupengine::profiles {
namespace {

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string::npos;) {
        const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

// systemd and udev write odd characters as "\\x20".
std::string without_hex_escapes(const std::string& text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        if (text.compare(i, 2, "\\x") == 0 && i + 4 <= text.size() &&
            std::from_chars(text.data() + i + 2, text.data() + i + 4, value, 16).ptr == text.data() + i + 4) {
            result += static_cast<char>(value);
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

struct Tag {
    std::string key, value;  // "uuid", "1234-ABCD"
};

constexpr std::string_view kBy = "/dev/disk/by-";

std::optional<Tag> tag_of(const std::string& device) {
    if (device.rfind(kBy, 0) == 0) {
        const std::size_t slash = device.find('/', kBy.size());
        if (slash == std::string::npos) return std::nullopt;
        return Tag{device.substr(kBy.size(), slash - kBy.size()),
                   without_hex_escapes(device.substr(slash + 1))};
    }
    const std::size_t equals = device.find('=');
    if (equals == std::string::npos || device.front() == '/') return std::nullopt;
    std::string value = device.substr(equals + 1);
    std::erase(value, '"');
    return Tag{lower(device.substr(0, equals)), value};
}

bool matches(const Tag& tag, const layout::PartitionDescription& candidate,
             const layout::PartitionTable& table) {
    const layout::Partition& partition = candidate.partition;
    if (tag.value.empty()) return false;
    if (tag.key == "uuid") return candidate.signature && lower(candidate.signature->uuid) == lower(tag.value);
    if (tag.key == "label") return candidate.signature && candidate.signature->label == tag.value;
    if (tag.key == "partlabel") return !partition.name.empty() && partition.name == tag.value;
    if (tag.key != "partuuid") return false;
    if (table.kind == layout::TableKind::kMbr)
        return lower(tag.value) == fmt::format("{:08x}-{:02x}", table.mbr_signature, partition.number);
    return lower(tag.value) == partition.guid.text();
}

struct Numbered {
    std::string disk;  // "/dev/sda", "/dev/nvme0n1", "/dev/disk/by-id/ata-X"
    unsigned number = 0;
};

// The kernel's names of partitions (block/partitions/core.c): the disk's, a 'p' if that ends in a digit, the
// number.
std::optional<Numbered> numbered(const std::string& device) {
    const std::size_t end = device.find_last_not_of("0123456789") + 1;
    unsigned number = 0;
    const auto parsed = std::from_chars(device.data() + end, device.data() + device.size(), number);
    if (end == device.size() || parsed.ec != std::errc() || number == 0) return std::nullopt;
    const std::string name = device.substr(0, end);
    if (name.rfind(kBy, 0) == 0 && name.ends_with("-part"))
        return Numbered{name.substr(0, name.size() - 5), number};
    const auto is_disk = [&](std::string_view family, bool digit_and_p) {
        if (name.rfind(family, 0) != 0 || name.size() == family.size()) return false;
        const std::string rest = name.substr(family.size());
        if (digit_and_p)
            return rest.size() > 1 && rest.back() == 'p' && rest[rest.size() - 2] >= '0' &&
                   rest[rest.size() - 2] <= '9' && rest.find('/') == std::string::npos;
        return std::all_of(rest.begin(), rest.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    };
    for (const char* family : {"/dev/sd", "/dev/vd", "/dev/xvd", "/dev/hd"})
        if (is_disk(family, false)) return Numbered{name, number};
    for (const char* family : {"/dev/nvme", "/dev/mmcblk", "/dev/loop", "/dev/nbd", "/dev/pmem"})
        if (is_disk(family, true)) return Numbered{name.substr(0, name.size() - 1), number};
    return std::nullopt;
}

// What a .mount unit says; of a key that is there twice, the last one counts.
MountLine parse_unit(const std::string& text) {
    MountLine mount;
    bool inside = false;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        line.erase(line.find_last_not_of(" \t\r") + 1);
        if (!line.empty() && line.front() == '[') inside = line == "[Mount]";
        const std::size_t equals = line.find('=');
        if (!inside || equals == std::string::npos) continue;
        const std::string key = line.substr(0, line.find_last_not_of(" \t", equals - 1) + 1);
        const std::size_t value = std::min(line.find_first_not_of(" \t", equals + 1), line.size());
        if (equals > 0 && key == "What") mount.device = without_hex_escapes(line.substr(value));
        if (equals > 0 && key == "Where") mount.path = without_hex_escapes(line.substr(value));
    }
    return mount;
}

// "/boot/" and "//boot" are "/boot".
std::string plain_path(const std::string& path) {
    std::string plain;
    for (std::size_t at = 0; (at = path.find_first_not_of('/', at)) != std::string::npos;) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        plain += "/" + path.substr(at, end - at);
        at = end;
    }
    return plain.empty() ? "/" : plain;
}

}  // namespace

std::string without_octal_escapes(const std::string& text) {
    std::string result;
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
            octal(text[i + 3])) {
            result +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

std::vector<MountLine> parse_fstab(const std::string& fstab) {
    std::vector<MountLine> mounts;
    for (std::size_t begin = 0; begin < fstab.size();) {
        const std::size_t end = std::min(fstab.find('\n', begin), fstab.size());
        const std::vector<std::string> words = words_of(fstab.substr(begin, end - begin));
        begin = end + 1;
        if (words.size() < 2 || words[0].front() == '#') continue;
        const std::string path = without_octal_escapes(words[1]);
        if (path.front() == '/') mounts.push_back({without_octal_escapes(words[0]), plain_path(path)});
    }
    return mounts;
}

std::vector<MountLine> mount_units(const Tree& tree) {
    const std::string folder = resolve(tree, "/etc/systemd/system");
    std::vector<MountLine> mounts;
    for (const std::string& name : tree.list(folder)) {
        if (!name.ends_with(".mount")) continue;
        MountLine mount = parse_unit(read_text(tree, join(folder, name)));
        if (mount.path.empty() || mount.path.front() != '/' || mount.device.empty()) continue;
        mount.path = plain_path(mount.path);
        mounts.push_back(mount);
    }
    return mounts;
}

bool is_block_device(const std::string& device) {
    const std::optional<Tag> tag = tag_of(device);
    const bool known = tag && (tag->key == "uuid" || tag->key == "label" || tag->key == "partlabel" ||
                               tag->key == "partuuid" || tag->key == "id");
    return known || device.rfind("/dev/", 0) == 0;
}

bool is_numbered(const std::string& device) {
    return numbered(device).has_value();
}

namespace {

enum class Whose { kFirst, kOther, kAny };

// One disk has several names below /dev/disk, so two of those that differ say nothing about each other.
Whose whose(const Numbered& name, const std::optional<Numbered>& root) {
    if (!root) return Whose::kAny;
    if (root->disk == name.disk) return Whose::kFirst;
    const bool of_the_kernel = parent_of(root->disk) == "/dev" && parent_of(name.disk) == "/dev";
    return of_the_kernel ? Whose::kOther : Whose::kAny;
}

}  // namespace

bool is_boot_type(const layout::DiskDescription& disk, const layout::Partition& partition) {
    if (disk.table.kind == layout::TableKind::kMbr) return partition.mbr_type == 0xef;
    return partition.type_guid == layout::type_guid::kEfiSystem ||
           partition.type_guid == layout::type_guid::kXbootldr;
}

std::string default_place_of(const layout::Partition& boot_partition, const Tree& root) {
    if (boot_partition.type_guid == layout::type_guid::kXbootldr) return "/boot";
    for (const char* path : {"/efi", "/boot/efi"})
        if (root.look(path).kind == NodeKind::kFolder) return path;
    return "/efi";
}

std::string place_beside(PartitionId id) {
    return id.disk == 0 ? fmt::format("/partition-{}", id.number)
                        : fmt::format("/disk-{}-partition-{}", id.disk + 1, id.number);
}

bool may_hold_references(const std::string& path) {
    for (const char* folder : {"/boot", "/efi", "/etc", "/usr/lib", "/usr/local/lib"})
        if (is_within(path, folder) || is_within(folder, path)) return true;
    return false;
}

std::vector<PartitionId> partitions_meant(const std::string& device, const std::string& root_device,
                                          std::span<const layout::DiskDescription* const> disks) {
    std::vector<PartitionId> found;
    if (const auto name = numbered(device)) {
        const Whose of = whose(*name, numbered(root_device));
        for (std::size_t disk = 0; disk < disks.size(); ++disk)
            if (of == Whose::kAny || (disk == 0) == (of == Whose::kFirst))
                if (disks[disk]->by_number(name->number) != nullptr) found.push_back({disk, name->number});
        if (!found.empty()) return found;
    }
    const std::optional<Tag> tag = tag_of(device);
    for (std::size_t disk = 0; disk < disks.size(); ++disk)
        for (const layout::PartitionDescription& candidate : disks[disk]->partitions)
            if (tag && matches(*tag, candidate, disks[disk]->table))
                found.push_back({disk, candidate.partition.number});
    return found;
}

}  // namespace dupengine::profiles

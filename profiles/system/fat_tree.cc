#include "profiles/system/fat_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "base/fd.h"
#include "base/subprocess.h"
#include "base/temporary_folder.h"
#include "profiles/system/dir_tree.h"

namespace dupengine::profiles {
namespace {

constexpr unsigned kFatMode = 0755;  // what a plain mount of vfat shows
constexpr std::size_t kEntryLimit = 100'000;

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

// For the file that is on its way to or from mtools.
class Passage {
  public:
    std::string file() const { return folder_.file("file"); }

  private:
    TemporaryFolder folder_{temporary_place("/tmp"), "", Code::kInternal};
};

}  // namespace

Node as_stored_on_fat(const Node& node, const std::string& where) {
    if (node.kind == NodeKind::kLink || node.kind == NodeKind::kOther)
        throw_error(Code::kRefused, "{}: FAT holds files and folders only", where);
    Node stored = node;
    stored.mode = kFatMode;
    stored.uid = stored.gid = 0;
    stored.extended_attributes.clear();
    return stored;
}

FatTree::FatTree(std::string device, std::string name) : device_(std::move(device)), name_(std::move(name)) {
    read_index();
}

std::string FatTree::run(const std::vector<std::string>& words) const {
    std::vector<std::string> argv = {words.front(), "-i", device_};
    argv.insert(argv.end(), words.begin() + 1, words.end());
    RunOptions options;
    // In the locale C, mtools shows '_' for what is not ASCII, and does not find it again.
    options.extra_environment = {"MTOOLS_SKIP_CHECK=1", "MTOOLSRC=/dev/null", "LC_ALL=C.UTF-8"};
    const RunResult result = run_program(argv, options);
    if (result.status != 0)
        throw_error(Code::kTargetIo, "{}: {} failed: {}", name_, words.front(), result.complaint());
    return result.out;
}

void FatTree::change(const std::vector<std::string>& words) const {
    run(words);
    Fd fd = open_path(device_, O_RDWR, Code::kTargetIo);
    if (::fsync(fd.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", name_);
    fd.close(Code::kTargetIo, name_);
}

void FatTree::read_index() {
    std::string listing;
    try {
        listing = run({"mdir", "-/", "-a", "-b", "::/"});
    } catch (Error& e) {
        // That is how it speaks of an empty one, too.
        try {
            if (run({"mdir", "-a", "::/"}).find("\nNo files") == std::string::npos) throw;
        } catch (const Error&) {
            e.set_code(Code::kIntegrity);
            throw e;
        }
    }
    entries_.clear();
    for (std::size_t begin = 0; begin < listing.size();) {
        const std::size_t end = std::min(listing.find('\n', begin), listing.size());
        std::string line = listing.substr(begin, end - begin);
        begin = end + 1;
        if (line.rfind("::/", 0) != 0 || line.size() == 3) continue;
        line.erase(0, 2);
        const bool folder = line.back() == '/';
        if (folder) line.pop_back();
        entries_[lower(line)] = {line, folder ? NodeKind::kFolder : NodeKind::kFile};
        if (entries_.size() > kEntryLimit)
            throw_error(Code::kIntegrity, "{}: more than {} files, which no boot partition has", name_,
                        kEntryLimit);
    }
    const auto is_file = [](const auto& entry) { return entry.second.kind == NodeKind::kFile; };
    if (std::any_of(entries_.begin(), entries_.end(), is_file)) read_sizes();  // mdu fails without any
}

// mdu tells a name and how many clusters it has, a line each.
void FatTree::read_sizes() {
    const Fd fd = open_path(device_, O_RDONLY, Code::kTargetIo);
    Bytes boot(512);
    if (::pread(fd.get(), boot.data(), boot.size(), 0) != static_cast<ssize_t>(boot.size()))
        throw_errno(Code::kTargetIo, errno, "{}: its boot sector cannot be read", name_);
    const std::uint64_t cluster_bytes =
        std::uint64_t{load_le<std::uint16_t>(boot, 0x0b)} * load_le<std::uint8_t>(boot, 0x0d);
    const std::string listing = run({"mdu", "-a", "::/"});
    for (std::size_t begin = 0; begin < listing.size();) {
        const std::size_t end = std::min(listing.find('\n', begin), listing.size());
        const std::string line = listing.substr(begin, end - begin);
        begin = end + 1;
        const std::size_t space = line.rfind(' ');
        if (line.rfind("::/", 0) != 0 || space == std::string::npos) continue;
        const auto entry = entries_.find(lower(line.substr(2, space - 2)));
        std::uint64_t clusters = 0;
        std::from_chars(line.data() + space + 1, line.data() + line.size(), clusters);
        if (entry != entries_.end() && entry->second.kind == NodeKind::kFile)
            entry->second.size_bytes = checked_mul(clusters, cluster_bytes, name_);
    }
}

const FatTree::Entry* FatTree::find(const std::string& path) const {
    require_normal(path);
    const auto found = entries_.find(lower(path));
    return found == entries_.end() ? nullptr : &found->second;
}

std::string FatTree::existing(const std::string& path) {
    std::string pattern = "::";
    for (const char c : path) {
        if (c == '*' || c == '?' || c == '[' || c == ']' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern;
}

std::string FatTree::fresh(const std::string& path) {
    if (path.find_first_of("*?\\\"<>|:") != std::string::npos)
        throw_error(Code::kRefused, "{}: FAT has no such names", path);
    return "::" + path;
}

Node FatTree::look(const std::string& path) const {
    if (path == "/") return Node::folder(kFatMode);
    const Entry* entry = find(path);
    if (entry == nullptr) return {};
    Node node;
    node.kind = entry->kind;
    node.mode = kFatMode;
    node.size_bytes = entry->size_bytes;
    return node;
}

Node FatTree::take(const std::string& path) const {
    Node node = look(path);
    if (node.kind != NodeKind::kFile) return node;
    if (node.size_bytes > kFileLimit)
        throw_error(Code::kRefused, "{}{}: {} bytes are more than can be looked through ({})", name_, path,
                    node.size_bytes, kFileLimit);
    const Passage passage;
    run({"mcopy", "-o", existing(path), passage.file()});
    return node.with_content(read_file(passage.file(), Code::kTargetIo, kFileLimit));
}

std::vector<std::string> FatTree::list(const std::string& path) const {
    const std::string folder = path == "/" ? "/" : lower(path) + "/";
    std::vector<std::string> names;
    for (const auto& [key, entry] : entries_)
        if (key.rfind(folder, 0) == 0 && key.find('/', folder.size()) == std::string::npos)
            names.push_back(leaf_of(entry.path));
    std::sort(names.begin(), names.end());
    return names;
}

void FatTree::put(const std::string& path, const Node& node) {
    const Node there = look(path);
    switch (node.kind) {
        case NodeKind::kAbsent:
            if (there.exists()) change({there.kind == NodeKind::kFolder ? "mrd" : "mdel", existing(path)});
            entries_.erase(lower(path));
            return;
        case NodeKind::kFile:
            put_file(path, *node.content);
            break;
        case NodeKind::kFolder:
            if (!there.exists()) change({"mmd", fresh(path)});
            break;
        default:
            throw_error(Code::kRefused, "{}{}: FAT holds files and folders only", name_, path);
    }
    entries_[lower(path)] = {path, node.kind, node.kind == NodeKind::kFile ? node.size_bytes : 0};
}

void FatTree::put_file(const std::string& path, const std::string& content) {
    const Passage passage;
    write_file_atomic(passage.file(), as_bytes(content), 0600, Code::kTargetIo);
    // Not by way of another name: mren would spell a short name in capitals.
    change({"mcopy", "-o", passage.file(), fresh(path)});
}

void FatTree::rename(const std::string& from, const std::string& to) {
    if (look(to).exists())
        throw_error(Code::kTargetIo, "{}{}: cannot be renamed to {}, which exists", name_, from, to);
    change({"mmove", existing(from), fresh(to)});
    read_index();
}

void FatTree::sweep(const std::string& folder) {
    const std::string left = join(folder, kTemporaryName);
    if (look(left).kind == NodeKind::kFile) put(left, {});
}

Node FatTree::as_stored(const std::string& path, const Node& node) const {
    return as_stored_on_fat(node, name_ + path);
}

std::uint64_t FatTree::free_bytes(const std::string&) const {
    // "                         66 050 560 bytes free"
    const std::string listing = run({"mdir", "-a", "::/"});
    const std::size_t end = listing.rfind(" bytes free");
    if (end == std::string::npos) return 0;
    const std::size_t begin = listing.rfind('\n', end) + 1;
    std::uint64_t free = 0;
    for (const char c : listing.substr(begin, end - begin))
        if (c >= '0' && c <= '9')
            free = checked_add(checked_mul(free, 10, name_), static_cast<unsigned>(c - '0'), name_);
    return free;
}

bool FatTree::is_in_order(const std::string& device) {
    return run_program({"fsck.fat", "-n", device}).status == 0;
}

void FatTree::repair(const std::string& device, const std::string& name) {
    run_program({"fsck.fat", "-a",
                 device});  // its status is 1 when it repaired; what counts is whether it is in order now
    if (!is_in_order(device))
        throw_error(Code::kIntegrity,
                    "{}: fsck.fat cannot put its file system in order; duplicate the source again", name);
}

}  // namespace dupengine::profiles

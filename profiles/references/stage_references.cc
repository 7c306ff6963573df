#include "profiles/references/stage_references.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "profiles/references/initramfs.h"
#include "profiles/references/initramfs_members.h"
#include "profiles/references/unified_kernel.h"

namespace dupengine::profiles {
namespace {

constexpr unsigned kDepthLimit = 40;
constexpr std::uint64_t kLinkedLimit = 1u
                                       << 20;  // configuration; not the programs that /etc/alternatives knows

// What the vendor and the administrator put outside of /etc and the boot folders: units, rules of udev, what
// initramfs generators read, and boot loaders that sit in the root.
constexpr const char* kVendorFolders[] = {"/usr/lib/systemd/system",
                                          "/usr/local/lib/systemd/system",
                                          "/lib/systemd/system",
                                          "/usr/lib/udev/rules.d",
                                          "/usr/local/lib/udev/rules.d",
                                          "/lib/udev/rules.d",
                                          "/usr/lib/dracut/dracut.conf.d",
                                          "/usr/lib/repart.d",
                                          "/usr/share/initramfs-tools/conf.d",
                                          "/extlinux",
                                          "/syslinux"};

class Scanner {
  public:
    Scanner(Staged& staged, const ReferenceScan& scan, std::vector<std::string>& notes)
        : staged_(staged), scan_(scan), notes_(notes) {}

    void run() {
        starts_ = starts();
        for (const bool names_only :
             {true, false})  // a new name must be known before what is below it is looked at
            for (const Start& start : starts_) {
                map_ = start.map;
                is_boot_ = start.is_boot;
                walk(start.folder, names_only, 0);
            }
        if (stuck_.empty()) return;
        std::string all;
        for (std::size_t i = 0; i < std::min<std::size_t>(stuck_.size(), 8); ++i)
            all += (i == 0 ? "" : "; ") + stuck_[i];
        if (stuck_.size() > 8) all += fmt::format("; and {} more", stuck_.size() - 8);
        throw_error(Code::kRefused,
                    "references that cannot be rewritten, so no identifier is changed: {} "
                    "(--leave-reference PATH accepts a file as it is)",
                    all);
    }

  private:
    struct Start {
        std::string folder;
        const IdentifierMap* map;
        bool is_boot;
    };

    std::vector<Start> starts() const {
        std::vector<Start> all = {{"/etc", &scan_.storage, false},
                                  {"/etc/kernel", &scan_.boot, false},
                                  {"/usr/lib/kernel", &scan_.boot, false}};
        std::vector<std::string> seen;
        const auto add = [&](const std::string& folder, const IdentifierMap& map, bool is_boot) {
            const std::string place = resolve(staged_, folder);
            if (std::any_of(seen.begin(), seen.end(),
                            [&](const std::string& above) { return is_within(place, above); }))
                return;
            seen.push_back(place);
            if (!scan_.left.contains(folder)) all.push_back({place, &map, is_boot});
        };
        for (const std::string& folder : scan_.boot_folders)
            add(folder, scan_.boot, true);
        for (const char* folder : kVendorFolders)
            add(folder, scan_.storage, false);
        return all;
    }

    void walk(const std::string& folder, bool names_only, unsigned depth) {
        if (map_->empty() || staged_.look(folder).kind != NodeKind::kFolder) return;
        if (depth > kDepthLimit)
            throw_error(Code::kRefused, "{}: more than {} folders deep", folder, kDepthLimit);
        for (const std::string& name : staged_.list(folder)) {
            std::string path = join(folder, name);
            if (scan_.left.contains(path)) {
                if (!names_only) notes_.push_back(path + ": left as it is, whatever it refers to");
                continue;
            }
            const Node node = staged_.look(path);
            if (names_only)
                path = rename(folder, name);
            else
                correct(path, node);
            if (node.kind == NodeKind::kFolder) walk(path, names_only, depth + 1);
        }
    }

    std::string rename(const std::string& folder, const std::string& name) {
        const std::string path = join(folder, name), new_name = map_->rewrite(name);
        if (new_name == name) return path;
        staged_.rename(path, join(folder, new_name));
        staged_.note({"references", path, "", "renamed to " + new_name});
        return join(folder, new_name);
    }

    void correct(const std::string& path, const Node& node) {
        if (node.kind == NodeKind::kLink) {
            const std::string target = map_->rewrite(node.link_target);
            if (target != node.link_target)
                staged_.change("references", path, Node::link(target), "-> " + node.link_target,
                               "-> " + target);
            else
                follow(path);
        } else if (node.kind == NodeKind::kFile && node.size_bytes > Tree::kFileLimit) {
            pass_over(path, node);
        } else if (node.kind == NodeKind::kFile) {
            try {
                correct_file(path);
            } catch (const Error& e) {
                stuck_.push_back(fmt::format("{} cannot be looked through ({})", path, e.what()));
            }
        }
    }

    // A file of /etc that is kept elsewhere: fstab on a folder that persists, ...
    void follow(const std::string& link) {
        const std::string place = resolve(staged_, link);
        const Node node = staged_.look(place);
        const bool walked = std::any_of(starts_.begin(), starts_.end(),
                                        [&](const Start& start) { return is_within(place, start.folder); });
        if (walked || node.kind != NodeKind::kFile || node.size_bytes > kLinkedLimit) return;
        if (!scan_.left.contains(place) && followed_.insert(place).second) correct(place, node);
    }

    // Text that somebody wrote is never that large. What boots could be.
    void pass_over(const std::string& path, const Node& node) {
        const std::string name = leaf_of(path);
        const bool boots = is_boot_ && (name.rfind("init", 0) == 0 || name.ends_with(".img") ||
                                        name.ends_with(".efi") || name.ends_with(".EFI"));
        if (boots)
            stuck_.push_back(fmt::format("{} cannot be looked through ({} bytes)", path, node.size_bytes));
        else
            notes_.push_back(fmt::format("{}: {} bytes are too many for a file with references; not searched",
                                         path, node.size_bytes));
    }

    void correct_file(const std::string& path) {
        const Node file = staged_.take(path);
        const std::string_view content = *file.content;
        if (is_boot_ && may_be_initramfs(content) && correct_initramfs(path, file)) return;
        if (const auto unified = inspect_unified_kernel(content, *map_); unified.is_unified_kernel) {
            for (const std::string& why : unified.stuck)
                stuck_.push_back(path + " " + why);
            if (!unified.corrected.empty()) put(path, file, unified.corrected, "in its command line");
            return;
        }
        const auto hits = map_->find(content);
        if (hits.empty()) return;
        if (!is_text(content))
            stuck_.push_back(fmt::format("{} is not text and holds {}", path, hits.front().identifier));
        else
            put(path, file, map_->rewrite(content), {});
    }

    bool correct_initramfs(const std::string& path, const Node& file) {
        InitramfsFindings found;
        try {
            found = inspect_initramfs(*file.content, *map_);
        } catch (const Error& e) {
            stuck_.push_back(
                fmt::format("{} begins as an initramfs but cannot be looked through ({})", path, e.what()));
            return true;
        }
        if (!found.is_initramfs) return false;
        for (const std::string& why : found.stuck)
            stuck_.push_back(path + " holds " + why);
        if (found.addition.empty()) return true;
        std::string members;
        for (const std::string& name : found.rewritten)
            members += (members.empty() ? "" : ", ") + name;
        put(path, file, *file.content + found.addition, "in " + members + ", as an archive at its end");
        return true;
    }

    // The line for the person names each old identifier once, with what it becomes.
    void put(const std::string& path, const Node& file, const std::string& corrected,
             const std::string& how) {
        std::vector<std::string> before, after;
        for (const auto& hit : map_->find(*file.content)) {
            if (std::find(before.begin(), before.end(), hit.found) != before.end()) continue;
            before.emplace_back(hit.found);
            after.push_back(hit.replacement);
        }
        std::string old_text, new_text;
        for (std::size_t i = 0; i < before.size(); ++i) {
            old_text += (i == 0 ? "" : ", ") + before[i];
            new_text += (i == 0 ? "" : ", ") + after[i];
        }
        if (!how.empty()) new_text += (new_text.empty() ? "" : " ") + how;
        staged_.change("references", path, file.with_content(corrected), old_text, new_text);
    }

    Staged& staged_;
    const ReferenceScan& scan_;
    std::vector<std::string>& notes_;
    std::vector<std::string> stuck_;
    std::vector<Start> starts_;
    std::set<std::string> followed_;
    const IdentifierMap* map_ = nullptr;
    bool is_boot_ = false;
};

}  // namespace

void stage_references(Staged& staged, const ReferenceScan& scan, std::vector<std::string>& notes) {
    Scanner(staged, scan, notes).run();
}

}  // namespace dupengine::profiles

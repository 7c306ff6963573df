#include "profiles/references/initramfs.h"

#include <sys/stat.h>

#include <map>

#include "profiles/references/initramfs_members.h"

namespace dupengine::profiles {
namespace {

// What the kernel would have in the end, as far as old identifiers are concerned: a later member replaces an
// earlier.
class Contents {
  public:
    explicit Contents(const IdentifierMap& map) : map_(map) {}

    void take(const CpioMember& member) {
        correct_.erase(member.name);
        stuck_.erase(member.name);
        if (map_.touches(member.name)) {
            stuck_[member.name] = "its name holds an old identifier";
            return;
        }
        if (!map_.touches(member.content)) return;
        const bool link = S_ISLNK(member.mode);
        if (!link && !(S_ISREG(member.mode) && is_text(member.content))) {
            stuck_[member.name] = "is not text and holds an old identifier";
            return;
        }
        CpioMember corrected = member;
        corrected.content = map_.rewrite(member.content);
        correct_[member.name] = std::move(corrected);
    }

    InitramfsFindings findings(std::string_view file) const {
        InitramfsFindings found;
        found.is_initramfs = true;
        std::vector<CpioMember> members;
        for (const auto& [name, member] : correct_) {
            found.rewritten.push_back(name);
            members.push_back(member);
        }
        for (const auto& [name, why] : stuck_)
            found.stuck.push_back(name + ": " + why);
        if (members.empty()) return found;
        found.addition = addition_to_initramfs(file, members);
        return found;
    }

  private:
    const IdentifierMap& map_;
    std::map<std::string, CpioMember> correct_;
    std::map<std::string, std::string> stuck_;
};

}  // namespace

InitramfsFindings inspect_initramfs(std::string_view file, const IdentifierMap& map) {
    Contents contents(map);
    if (!take_initramfs_members(file, [&](const CpioMember& member) { contents.take(member); })) return {};
    return contents.findings(file);
}

}  // namespace dupengine::profiles

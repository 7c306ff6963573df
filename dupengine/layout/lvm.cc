// LVM2: of a physical volume its own structures, and of the logical volumes what their filesystems use. A
// group may lie on several partitions and disks: they are looked at together.

#include <algorithm>
#include <map>

#include "layout/lvm_label.h"
#include "layout/lvm_volume.h"
#include "layout/plaintext.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using block::ExtentSet;
using block::Reader;

std::vector<std::size_t> physical_volumes_of(const LvmLogicalVolume& volume) {
    std::vector<std::size_t> found;
    for (const LvmSegment& segment : volume.segments)
        for (const LvmSegment::Stripe& stripe : segment.stripes)
            found.push_back(stripe.volume);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

// A group, and the parts of it that are here.
class GroupReader {
  public:
    /// `parts` by physical volume; null for one that is not here.
    GroupReader(const LvmGroup& group, std::vector<const Reader*> parts, Unreadable unreadable,
                PlaintextFinder* finder)
        : group_(group),
          parts_(std::move(parts)),
          unreadable_(unreadable),
          finder_(finder),
          places_(parts_.size()),
          whole_places_(parts_.size()),
          names_(parts_.size()) {
        for (const LvmLogicalVolume& volume : group_.logical) {
            const std::string what = add_volume(volume);
            for (const std::size_t i : physical_volumes_of(volume))
                names_[i] += (names_[i].empty() ? "" : ", ") + what;
        }
    }

    UsedExtents result(std::size_t i) {
        UsedExtents result;
        const Extent all{0, parts_[i]->geometry().size_bytes};
        result.filesystem_bytes = all.size();
        // Everything but the extents: label, metadata areas, a boot loader's area.
        result.used = ExtentSet{all};
        result.used.erase(group_.physical[i].extents);
        result.used.insert(places_[i]);
        std::vector<Extent>& whole = whole_places_[i];
        std::sort(whole.begin(), whole.end(), [](Extent a, Extent b) { return a.begin < b.begin; });
        ExtentSet whole_set;
        for (Extent e : whole)
            whole_set.insert(e);
        result.used.insert(whole_set);
        result.note = fmt::format("LVM group {}{}: {}", group_.name, missing(),
                                  names_[i].empty() ? "no logical volumes" : names_[i]);
        return result;
    }

  private:
    std::string missing() const {
        const auto count = std::count(parts_.begin(), parts_.end(), nullptr);
        return count == 0 ? ""
                          : fmt::format(" ({} of its {} physical volumes not among what is copied)", count,
                                        parts_.size());
    }

    bool is_all_here(const LvmLogicalVolume& volume) const {
        const std::vector<std::size_t> needed = physical_volumes_of(volume);
        return std::all_of(needed.begin(), needed.end(), [&](std::size_t i) { return parts_[i] != nullptr; });
    }

    std::string add_whole(const LvmLogicalVolume& volume, const std::string& why) {
        for (const LvmSegment& segment : volume.segments)
            for (const LvmSegment::Stripe& stripe : segment.stripes)
                whole_places_[stripe.volume].push_back(stripe.place);
        return fmt::format("{} (whole: {})", volume.name, why);
    }

    std::string add_unseen(const LvmLogicalVolume& volume, const std::string& why) {
        if (finder_ != nullptr)
            finder_->pass_by(fmt::format("logical volume {}/{}", group_.name, volume.name), why);
        return add_whole(volume, why);
    }

    std::string add_volume(const LvmLogicalVolume& volume) {
        if (!volume.special.empty()) return add_unseen(volume, volume.special);
        if (!is_all_here(volume)) return add_unseen(volume, "not all of it is here");
        const LvmVolumeReader reader(volume, parts_);
        try {
            const std::optional<Signature> signature = probe_signature(reader);
            if (signature && signature->type == "LVM2_member") return add_unseen(volume, "LVM in LVM");
            const UsedExtents used = find_used_extents(reader, signature, finder_);
            if (used.whole) return add_whole(volume, used.reason);
            reader.add_places(used.used, places_);
            reader.add_places(used.blank, places_);
            return fmt::format("{} ({})", volume.name, signature->type);
        } catch (const Error& e) {
            if (unreadable_ == Unreadable::kThrow || e.code() != Code::kSourceIo) throw;
            return add_whole(volume, fmt::format("its structures cannot be read: {}", e.what()));
        }
    }

    const LvmGroup& group_;
    std::vector<const Reader*> parts_;
    Unreadable unreadable_;
    PlaintextFinder* finder_;
    std::vector<ExtentSet> places_;
    std::vector<std::vector<Extent>> whole_places_;
    std::vector<std::string> names_;  // of the logical volumes on each, for the note
};

struct Found {
    LvmGroup group;
    std::string trouble;               // why nothing of it can be believed
    std::vector<std::size_t> members;  // by physical volume: which part it is
};
constexpr std::size_t kNowhere = ~std::size_t{0};

// All the parts, sorted into their groups.
class Sorter {
  public:
    Sorter(std::span<const Reader* const> parts, Unreadable unreadable, PlaintextFinder* finder)
        : parts_(parts),
          unreadable_(unreadable),
          finder_(finder),
          results_(parts.size()),
          labels_(parts.size()) {}

    std::vector<UsedExtents> run() {
        for (std::size_t i = 0; i < parts_.size(); ++i)
            read_label(i);
        for (auto& [id, found] : groups_)
            find_members(found);
        for (std::size_t i = 0; i < parts_.size(); ++i)
            refuse_doubt(i);
        for (auto& [id, found] : groups_)
            look_at(found);
        for (std::size_t i = 0; i < parts_.size(); ++i)
            if (results_[i].used.empty()) take_whole(i, "it holds no metadata of a group");
        return std::move(results_);
    }

  private:
    struct Label {
        std::string id;                // empty: it could not be read
        std::string group;             // whose metadata it holds
        ExtentSet own;                 // its own structures
        std::vector<Found*> claimers;  // the groups that say it is theirs
    };

    void take_whole(std::size_t i, const std::string& reason) {
        results_[i] = {};
        results_[i].used = {Extent{0, parts_[i]->geometry().size_bytes}};
        results_[i].whole = true;
        results_[i].reason = "LVM2_member: " + reason;
        if (finder_ != nullptr) finder_->pass_by(parts_[i]->name(), results_[i].reason);
    }

    void read_label(std::size_t i) {
        try {
            const LvmLabel label = read_lvm_label(*parts_[i]);
            for (const std::string& metadata : label.metadata) {
                LvmGroup group = parse_lvm_group(metadata);
                labels_[i].group = group.id;
                Found& found = groups_.try_emplace(group.id, Found{group, {}, {}}).first->second;
                // One that was away while the group was changed, or a write that was lost.
                if (found.group != group) found.trouble = "the copies of its metadata disagree";
            }
            labels_[i].id = label.id;
            labels_[i].own = label.own;
        } catch (const Error& e) {
            const bool salvaged = unreadable_ == Unreadable::kWhole && e.code() == Code::kSourceIo;
            if (e.code() != Code::kIntegrity && !salvaged) throw;
            take_whole(i, e.what());
        }
    }

    void find_members(Found& found) {
        const auto& physical = found.group.physical;
        found.members.assign(physical.size(), kNowhere);
        for (std::size_t i = 0; i < parts_.size(); ++i)
            for (std::size_t volume = 0; volume < physical.size(); ++volume) {
                if (labels_[i].id != physical[volume].id) continue;
                labels_[i].claimers.push_back(&found);
                if (found.members[volume] != kNowhere)
                    found.trouble = "one of its physical volumes is here twice";
                if (physical[volume].extents.end > parts_[i]->geometry().size_bytes)
                    found.trouble = "its extents pass the end of a physical volume";
                if (labels_[i].own.touches(physical[volume].extents))
                    found.trouble = "its extents lie over a physical volume's own structures";
                found.members[volume] = i;
            }
    }

    // A physical volume that two groups call theirs, or that belongs to another than it says itself: an old
    // state of one of them, nobody knows which.
    void refuse_doubt(std::size_t i) {
        const Label& label = labels_[i];
        for (Found* claimer : label.claimers)
            if (label.claimers.size() > 1 || (!label.group.empty() && label.group != claimer->group.id))
                claimer->trouble = "another group has one of its physical volumes";
    }

    void look_at(Found& found) {
        if (!found.trouble.empty()) {
            for (std::size_t i = 0; i < parts_.size(); ++i)
                if (std::find(labels_[i].claimers.begin(), labels_[i].claimers.end(), &found) !=
                    labels_[i].claimers.end())
                    take_whole(i, fmt::format("group {}: {}", found.group.name, found.trouble));
            return;
        }
        std::vector<const Reader*> parts;
        for (const std::size_t i : found.members)
            parts.push_back(i == kNowhere ? nullptr : parts_[i]);
        GroupReader reader(found.group, std::move(parts), unreadable_, finder_);
        for (std::size_t volume = 0; volume < found.members.size(); ++volume)
            if (found.members[volume] != kNowhere) results_[found.members[volume]] = reader.result(volume);
    }

    std::span<const Reader* const> parts_;
    Unreadable unreadable_;
    PlaintextFinder* finder_;
    std::vector<UsedExtents> results_;
    std::vector<Label> labels_;
    std::map<std::string, Found> groups_;  // by id
};

}  // namespace

std::vector<UsedExtents> lvm_used_extents(std::span<const Reader* const> parts, Unreadable unreadable,
                                          PlaintextFinder* finder) {
    return Sorter(parts, unreadable, finder).run();
}

}  // namespace dupengine::layout

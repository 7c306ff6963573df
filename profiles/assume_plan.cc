#include <algorithm>

#include "base/error.h"
#include "profiles/assume.h"
#include "profiles/assume_journal.h"
#include "profiles/items/item.h"
#include "profiles/references/stage_references.h"

namespace dupengine::profiles {
namespace {

std::string present_machine_id(const Tree& tree) {
    std::string text = read_text(tree, "/etc/machine-id");
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

void note_unreachable_storage(const Profile& profile, const System& system, std::vector<std::string>& notes) {
    if (system.reaches_storage()) return;
    for (const Item* item : {&profile.disk_guid, &profile.part_guid, &profile.fs_uuid, &profile.swap_uuid})
        if (item->mode != Mode::kIgnore) {
            notes.emplace_back(
                "the profile gives the disk new identifiers, which needs --disk; they stay as they are");
            return;
        }
}

// A file of the profile is put there as it is, so it must not name what will be gone.
void check_profile_files(const Profile& profile, const IdentifierMap& map) {
    for (const File& file : profile.files)
        if (const auto hits = map.find(file.content); !hits.empty())
            throw_error(
                Code::kRefused,
                "the profile's file {} names {}, which will be changed; write it with the new identifier "
                "or a label",
                file.path, hits.front().identifier);
}

// Those that are asked for, and those of an earlier run on this copy, which are remembered.
std::set<PartitionId> kept_partitions(const System& system, const std::set<PartitionId>& asked,
                                      std::map<std::string, std::string>& remembered) {
    const std::vector<PartitionId> present = system.partitions();
    for (const PartitionId id : asked) {
        if (std::find(present.begin(), present.end(), id) == present.end())
            throw_error(Code::kRefused, "{}: --keep-partition {}: there is no such partition", system.name(),
                        partition_option(system.disk_names(), id));
        remembered[lasting_name("keep_partition", id)] = "yes";
    }
    std::set<PartitionId> kept;
    for (const PartitionId id : present)
        if (remembered.contains(lasting_name("keep_partition", id))) kept.insert(id);
    return kept;
}

// A data partition that the copy left alone looks like any other, so a person has to see what changes where.
void note_changed_partitions(const std::vector<IdentifierChange>& changes, std::vector<std::string>& notes) {
    std::string all;
    std::set<PartitionId> seen;
    for (const IdentifierChange& change : changes)
        if (change.partition.number != 0 && seen.insert(change.partition).second)
            all += (all.empty() ? "" : ", ") + change.where;
    if (!all.empty())
        notes.push_back("new identifiers for " + all +
                        "; a partition that is not a copy (copy --protect) stays as it is with "
                        "--keep-partition");
}

// References may be in a part of the system that nothing can be read from: then no identifier may change.
void check_unsearchable(const System& system, const IdentifierMap& storage, const IdentifierMap& boot,
                        const std::set<std::string>& left, std::vector<std::string>& notes) {
    std::string all;
    for (const Unsearchable& part : system.unsearchable()) {
        const bool of_system = is_within(part.path, "/etc") || is_within(part.path, "/usr");
        if ((of_system ? storage : boot).empty()) continue;
        if (left.contains(part.path))
            notes.push_back(
                fmt::format("{} is {}; it is left as it is, whatever it refers to", part.path, part.why));
        else
            all += fmt::format("{}{} is {}", all.empty() ? "" : "; ", part.path, part.why);
    }
    if (!all.empty())
        throw_error(Code::kRefused,
                    "{}: {}; references in there could not be rewritten, so nothing is changed "
                    "(--leave-reference PATH accepts what is in it, --keep-partition N leaves the "
                    "identifiers of a partition as they are)",
                    system.name(), all);
}

void stage_items(ItemContext& context, System& system) {
    stage_machine_id(context);
    stage_hostname(context);
    stage_ssh_host_keys(context);
    stage_random_seed(context, system.boot_folders());
    stage_enrolment(context);
    stage_files(context);
    stage_hosts(context);
    stage_users(context);
    stage_services(context);
    stage_links(context);
}

}  // namespace

AssumePlan plan_assume(const Profile& profile, const NodeSecret& secret, System& system, RandomSource& random,
                       const AssumeOptions& options) {
    const Pending pending = find_pending(secret, system);
    if (pending == Pending::kFinish || pending == Pending::kUndo)
        throw_error(Code::kRefused, "{}: an earlier run was cut and has to be completed first",
                    system.name());
    if (profile.kind != Kind::kNode || profile.node.empty())
        throw_error(Code::kRefused, "the profile is not that of a node, so there is no role to take up");
    AssumePlan plan;
    plan.node = profile.node;
    plan.generation = profile.generation;
    if (const auto record = AssumeJournal(system, secret).load()) plan.remembered = record->remembered;
    Staged staged(system.tree());
    ItemContext context{profile, secret, staged, random, plan.remembered, plan.notes};
    note_unreachable_storage(profile, system, plan.notes);
    plan.identifiers = plan_identifiers(context, system.identifiers(),
                                        kept_partitions(system, options.kept_partitions, plan.remembered));
    note_changed_partitions(plan.identifiers, plan.notes);
    const IdentifierMap storage = storage_references(plan.identifiers, system.partitions());
    IdentifierMap boot = storage;
    const std::string machine_id = wanted_machine_id(context);
    if (!machine_id.empty()) boot.add(present_machine_id(staged), machine_id);
    check_unsearchable(system, storage, boot, options.left_references, plan.notes);
    check_profile_files(profile, storage);
    stage_references(staged, {storage, boot, system.boot_folders(), options.left_references}, plan.notes);
    stage_items(context, system);
    plan.changes = staged.changes();
    plan.renames = staged.renames();
    plan.puts = staged.puts();
    return plan;
}

}  // namespace dupengine::profiles

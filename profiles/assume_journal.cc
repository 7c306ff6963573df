#include "profiles/assume_journal.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/digest.h"
#include "profiles/assume_record.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kFolder = "/var/lib/dupengine/assume";
constexpr std::string_view kMagic = "dupengine-assume 1 ";
constexpr std::size_t kDigestDigits = 64;
constexpr std::size_t kHeadBytes = kMagic.size() + kDigestDigits + 1;
constexpr std::uint64_t kStateLimit = 64 * kMiB;

std::string authenticator(const NodeSecret& secret, const std::string& body) {
    return to_hex(
        codec::hmac_sha256(as_bytes(secret.bytes), as_bytes("dupengine assume journal v1\n" + body)));
}

std::string digest_of(const Node& node) {
    return node.content ? to_hex(codec::sha256(as_bytes(*node.content))) : std::string();
}

std::vector<RecordedDisk> disks_of(const AssumePlan& plan, const System& system) {
    const std::vector<std::string> names = system.disk_names(), identities = disk_identities(system);
    std::vector<RecordedDisk> disks;
    for (std::size_t i = 0; i < names.size(); ++i)
        disks.push_back({names[i], identities[i], identities[i]});
    for (const IdentifierChange& change : plan.identifiers)
        if (change.kind == IdentifierKind::kDiskGuid || change.kind == IdentifierKind::kDiskSignature)
            disks.at(change.partition.disk).after = change.after;
    return disks;
}

}  // namespace

std::string AssumeJournal::folder() const {
    return resolve(system_.root(), kFolder);
}

// Empty unless it begins as one.
std::string AssumeJournal::state_text() const {
    const Tree& root = system_.root();
    const std::string path = join(folder(), "state");
    const Node there = root.look(path);
    if (there.kind != NodeKind::kFile || there.size_bytes > kStateLimit) return {};
    std::string text = *root.take(path).content;
    return text.size() > kHeadBytes && text.rfind(kMagic, 0) == 0 ? text : std::string();
}

std::optional<AssumeRecord> AssumeJournal::load_ours() const {
    const std::string text = state_text();
    if (text.empty()) return std::nullopt;
    const std::string body = text.substr(kHeadBytes);
    if (text.substr(kMagic.size(), kDigestDigits) != authenticator(secret_, body)) return std::nullopt;
    AssumeRecord record = decode_record(body);
    const std::vector<std::string> disks = disk_identities(system_);
    // Written on another disk with the same profile: what was drawn there is not this disk's.
    const bool here = disks.empty() || record.disks.empty() || record.disks.front().has(disks.front());
    return here ? std::optional(std::move(record)) : std::nullopt;
}

std::optional<AssumeRecord> AssumeJournal::load() const {
    if (auto record = load_ours()) return record;
    const std::string text = state_text();
    if (text.empty()) return std::nullopt;
    const ForeignClaim claim = read_foreign_claim(text.substr(kHeadBytes));
    if (claim.unfinished)
        throw_error(
            Code::kRefused,
            "{}: was copied from a system that was in the middle of taking up the role of '{}'; let that one "
            "finish and duplicate it again",
            system_.name(), claim.node);
    return std::nullopt;
}

void AssumeJournal::make_folder(const std::string& path, unsigned mode, std::vector<std::string>& made) {
    Tree& root = system_.root();
    if (root.look(path).kind == NodeKind::kFolder) return;
    make_folder(parent_of(path), 0755, made);
    root.put(path, Node::folder(mode));
    made.push_back(path);
}

AssumeRecord AssumeJournal::begin(const AssumePlan& plan) {
    Tree& root = system_.root();
    AssumeRecord record;
    const std::optional<AssumeRecord> previous = load();
    const std::string place = folder();
    if (previous) record.made_folders = previous->made_folders;
    make_folder(place, 0700, record.made_folders);
    for (unsigned number = 1; record.run.empty(); ++number)
        if (!root.look(join(place, std::to_string(number))).exists()) record.run = std::to_string(number);
    record.node = plan.node;
    record.generation = plan.generation;
    record.disks = disks_of(plan, system_);
    if (record.disks.empty() && previous) record.disks = previous->disks;  // --root changes none of them
    record.mounts = system_.mounts();
    record.remembered = plan.remembered;
    record.renames = plan.renames;
    record.puts = plan.puts;
    record.identifiers = plan.identifiers;
    const std::string run = join(place, record.run);
    root.put(run, Node::folder(0700));
    for (std::size_t i = 0; i < plan.puts.size(); ++i) {
        const PutAction& put = plan.puts[i];
        record.digests_before.push_back(digest_of(put.before));
        record.digests_after.push_back(digest_of(put.after));
        if (put.before.content)
            root.put(fmt::format("{}/before-{}", run, i), Node::file(*put.before.content, 0600));
        if (put.after.content)
            root.put(fmt::format("{}/after-{}", run, i), Node::file(*put.after.content, 0600));
    }
    Staged renamed(system_.tree());
    for (std::size_t i = 0; i < plan.renames.size(); ++i) {
        const RenameAction& rename = plan.renames[i];
        if (!renamed.renames_whole(rename.from))
            record.saved.push_back(save(renamed, rename.from, i, run, "there"));
        renamed.rename(rename.from, rename.to);
    }
    write_state(record);
    return record;
}

SavedRename AssumeJournal::save(const Tree& tree, const std::string& path, std::size_t rename,
                                const std::string& run, const std::string& prefix) {
    SavedRename saved{rename, tree.list(parent_of(path)), {}};
    const auto add = [&](const auto& self, const std::string& below) -> void {
        const Node node = tree.take(path + below);
        if (!node.exists()) return;
        SavedNode one{below, node.kind, digest_of(node), {}};
        if (node.content) {
            one.image = fmt::format("{}-{}-{}", prefix, rename, saved.nodes.size());
            system_.root().put(join(run, one.image), Node::file(*node.content, 0600));
        }
        saved.nodes.push_back(one);
        for (const std::string& name : tree.list(path + below))
            self(self, below + "/" + name);
    };
    add(add, "");
    return saved;
}

void AssumeJournal::save_for_the_way_back(AssumeRecord& record) {
    const std::string run = join(folder(), record.run);
    record.saved.clear();
    for (std::size_t i = 0; i < record.renames.size(); ++i)
        if (const std::string& path = record.renames[i].to; !system_.tree().renames_whole(path))
            record.saved.push_back(save(system_.tree(), path, i, run, "back"));
}

std::string AssumeJournal::read_saved(const AssumeRecord& record, const SavedNode& node) const {
    Node file;
    file.kind = NodeKind::kFile;
    return *read_image(record, file, node.digest, node.image).content;
}

void AssumeJournal::write_state(const AssumeRecord& record) {
    const std::string body = encode_record(record);
    system_.root().put(join(folder(), "state"),
                       Node::file(std::string(kMagic) + authenticator(secret_, body) + "\n" + body, 0600));
}

void AssumeJournal::set_phase(AssumeRecord& record, AssumePhase phase) {
    if (record.phase == phase) return;
    record.phase = phase;
    write_state(record);
}

std::vector<std::string> AssumeJournal::leftovers(const std::string& run_in_use) const {
    const Tree& root = system_.root();
    const std::string place = folder(), run = join(place, run_in_use);
    std::vector<std::string> paths;
    for (const std::string& name : root.list(place))
        if (name != "state" && name != run_in_use) paths.push_back(join(place, name));
    if (run_in_use.empty()) return paths;
    for (const std::string& name : root.list(run))
        if (name.rfind("after-", 0) == 0) paths.push_back(join(run, name));
    return paths;
}

// While nothing is under way. Without a state the folder itself is one: only we make it.
std::vector<std::string> AssumeJournal::leftovers_at_rest() const {
    const Tree& root = system_.root();
    const std::string place = folder();
    if (const auto record = load())
        return record->phase == AssumePhase::kDone ? leftovers(record->run) : std::vector<std::string>();
    if (root.look(place).kind != NodeKind::kFolder) return {};
    const std::string state = join(place, "state");
    if (!root.look(state).exists()) return {place};
    return {};  // the source's own journal; the next one that is begun takes its place
}

bool AssumeJournal::has_leftovers() const {
    return !leftovers_at_rest().empty();
}

void AssumeJournal::remove_leftovers() {
    Tree& root = system_.root();
    const std::string place = folder(), above = parent_of(place);
    for (const std::string& path : leftovers_at_rest())
        remove_folder(path);
    if (!root.look(place).exists() && root.list(above).empty()) root.put(above, {});
}

void AssumeJournal::finish(AssumeRecord& record) {
    set_phase(record, AssumePhase::kDone);
    for (const std::string& path : leftovers(record.run))
        remove_folder(path);
}

void AssumeJournal::remove_folder(const std::string& path) {
    Tree& root = system_.root();
    if (root.look(path).kind == NodeKind::kFolder)
        for (const std::string& name : root.list(path))
            remove_folder(join(path, name));
    root.put(path, {});
}

void AssumeJournal::erase(const AssumeRecord& record) {
    Tree& root = system_.root();
    const std::string place = folder();
    // The state goes last: until then the next run comes here again.
    for (const std::string& name : root.list(place))
        if (name != "state") remove_folder(join(place, name));
    root.put(join(place, "state"), {});
    std::vector<std::string> made = record.made_folders;
    std::sort(made.rbegin(), made.rend());
    for (const std::string& path : made)
        if (root.list(path).empty()) root.put(path, {});
}

Node AssumeJournal::read_image(const AssumeRecord& record, const Node& node, const std::string& digest,
                               const std::string& name) const {
    if (node.kind != NodeKind::kFile) return node;
    const std::string path = join(join(folder(), record.run), name);
    const Node image = system_.root().take(path);
    if (image.kind != NodeKind::kFile || digest_of(image) != digest)
        throw_error(Code::kIntegrity, "{}: {} is not what the journal says; duplicate the source again",
                    system_.name(), path);
    return node.with_content(*image.content);
}

Node AssumeJournal::read_before(const AssumeRecord& record, std::size_t n) const {
    return read_image(record, record.puts.at(n).before, record.digests_before.at(n),
                      fmt::format("before-{}", n));
}

Node AssumeJournal::read_after(const AssumeRecord& record, std::size_t n) const {
    return read_image(record, record.puts.at(n).after, record.digests_after.at(n),
                      fmt::format("after-{}", n));
}

}  // namespace dupengine::profiles

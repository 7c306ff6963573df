// SSH host keys: the source's are taken away, all of them, and the node's own are put there. Derived ones are
// the same after every duplication, so nobody who knows this machine is asked to trust it anew.

#include <algorithm>

#include "base/error.h"
#include "profiles/items/item.h"
#include "profiles/items/ssh_key.h"

namespace dupengine::profiles {
namespace {

constexpr const char* kFolder = "/etc/ssh";
constexpr std::string_view kPrefix = "ssh_host_";

std::string private_path(const std::string& type) {
    return fmt::format("{}/{}{}_key", kFolder, kPrefix, type);
}

// "ssh_host_ed25519_key", ".pub" or "-cert.pub" of it -> "ed25519"; empty for any other name.
std::string type_of_file(const std::string& name) {
    if (name.rfind(kPrefix, 0) != 0) return {};
    const std::size_t end = name.find("_key", kPrefix.size());
    if (end == std::string::npos) return {};
    const std::string rest = name.substr(end + 4);
    if (!rest.empty() && rest != ".pub" && rest != "-cert.pub") return {};
    return name.substr(kPrefix.size(), end - kPrefix.size());
}

std::string fingerprint_at(const Tree& tree, const std::string& type) {
    const std::string print = ssh_fingerprint(read_text(tree, private_path(type) + ".pub"));
    return print.empty() ? "(none)" : print;
}

Bytes seed_for(ItemContext& context, const std::string& type) {
    Bytes seed;
    for (unsigned block = 0; seed.size() < ssh_seed_bytes(type); ++block) {
        const Bytes more = derive(context.secret, fmt::format("ssh_host_key {} {}", type, block));
        seed.insert(seed.end(), more.begin(), more.end());
    }
    return seed;
}

SshKey make_key(ItemContext& context, const std::string& type) {
    const std::string comment = "root@" + context.profile.node;
    if (context.profile.ssh_host_keys.mode == Mode::kDerive)
        return ssh_key_of_seed(type, seed_for(context, type), comment);
    if (type == "rsa") return fresh_rsa_key(context.random, comment);
    Bytes seed(ssh_seed_bytes(type));
    context.random.fill(seed);
    return ssh_key_of_seed(type, seed, comment);
}

void check_types(const SshHostKeys& keys) {
    for (const std::string& type : keys.types) {
        if (type != "ed25519" && type != "ecdsa" && type != "rsa")
            throw_error(Code::kRefused,
                        "the profile wants an SSH host key of type '{}'; known are ed25519, ecdsa and rsa",
                        type);
        if (type == "rsa" && keys.mode == Mode::kDerive)
            throw_error(Code::kRefused,
                        "the profile wants to derive an rsa SSH host key; rsa can only be regenerated");
    }
}

// The source's keys and certificates that no key of this node will replace.
void remove_foreign(ItemContext& context, const std::vector<std::string>& types) {
    for (const std::string& name : context.staged.list(kFolder)) {
        const std::string type = type_of_file(name);
        if (type.empty()) continue;
        const bool replaced =
            std::find(types.begin(), types.end(), type) != types.end() && !name.ends_with("-cert.pub");
        if (!replaced)
            context.staged.change("ssh_host_keys", join(kFolder, name), {},
                                  fingerprint_at(context.staged, type), "(none)");
    }
}

void stage_key(ItemContext& context, const std::string& type) {
    const std::string path = private_path(type), memory = "ssh_host_key " + type;
    const bool drawn = context.profile.ssh_host_keys.mode == Mode::kRegenerate;
    if (drawn && context.remembered.contains(memory) && context.staged.look(path).kind == NodeKind::kFile)
        return;
    const SshKey key = make_key(context, type);
    const std::string before = fingerprint_at(context.staged, type), after = ssh_fingerprint(key.public_file);
    if (drawn) context.remembered[memory] = after;
    context.staged.change("ssh_host_keys", path, Node::file(key.private_file, 0600), before, after);
    context.staged.change("ssh_host_keys", path + ".pub", Node::file(key.public_file, 0644), before, after);
}

}  // namespace

void stage_ssh_host_keys(ItemContext& context) {
    const SshHostKeys& keys = context.profile.ssh_host_keys;
    if (keys.mode == Mode::kIgnore) return;
    if (keys.mode == Mode::kSet) refuse_mode("ssh_host_keys", keys.mode);
    check_types(keys);
    if (context.staged.look(resolve(context.staged, kFolder)).kind != NodeKind::kFolder) {
        context.notes.emplace_back("there is no /etc/ssh in the copied system, so it gets no SSH host keys");
        return;
    }
    const std::vector<std::string> types =
        keys.mode == Mode::kRemove ? std::vector<std::string>() : keys.types;
    remove_foreign(context, types);
    for (const std::string& type : types)
        stage_key(context, type);
}

}  // namespace dupengine::profiles

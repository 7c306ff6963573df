// [[user]]: the keys with which a user may log in. Owner and home come from the copied system's own
// /etc/passwd (passwd(5)).

#include <charconv>
#include <optional>

#include "base/error.h"
#include "profiles/items/item.h"

namespace dupengine::profiles {
namespace {

struct Account {
    unsigned uid = 0, gid = 0;
    std::string home;
};

std::vector<std::string> fields_of(const std::string& line) {
    std::vector<std::string> fields;
    for (std::size_t begin = 0; begin <= line.size();) {
        const std::size_t end = std::min(line.find(':', begin), line.size());
        fields.push_back(line.substr(begin, end - begin));
        begin = end + 1;
    }
    return fields;
}

bool parse_number(const std::string& text, unsigned& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::optional<Account> find_account(const std::string& passwd, const std::string& user) {
    for (std::size_t begin = 0; begin < passwd.size();) {
        const std::size_t end = std::min(passwd.find('\n', begin), passwd.size());
        const std::vector<std::string> fields = fields_of(passwd.substr(begin, end - begin));
        begin = end + 1;
        if (fields.size() != 7 || fields[0] != user) continue;
        Account account;
        if (!parse_number(fields[2], account.uid) || !parse_number(fields[3], account.gid))
            return std::nullopt;
        account.home = fields[5];
        return account;
    }
    return std::nullopt;
}

std::size_t count_keys(const std::string& text) {
    std::size_t count = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::size_t word = text.find_first_not_of(" \t", begin);
        if (word < end && text[word] != '#') ++count;
        begin = end + 1;
    }
    return count;
}

// A link that a user made must not lead root's hand to somebody else's files.
void check_place(const Tree& tree, const std::string& home, const std::string& path,
                 const std::string& user) {
    const Node node = tree.look(path);
    if (node.kind == NodeKind::kLink && !is_within(resolve(tree, path), home))
        throw_error(Code::kRefused,
                    "{}: is a symlink to {}, which leads out of the home of {}; make it a folder or file of "
                    "its own, or take the keys out of the profile",
                    path, node.link_target, user);
}

void stage_user(ItemContext& context, const User& user, const std::string& passwd) {
    Staged& staged = context.staged;
    const auto account = find_account(passwd, user.name);
    if (!account)
        throw_error(Code::kRefused,
                    "the profile gives keys to the user {}, who is not in /etc/passwd of the copied system",
                    user.name);
    require_normal(account->home);
    const std::string home = resolve(staged, account->home);
    if (home == "/" || staged.look(home).kind != NodeKind::kFolder)
        throw_error(Code::kRefused, "{}: the home of {} is no folder of the copied system", account->home,
                    user.name);
    const std::string folder = resolve(staged, home + "/.ssh");
    check_place(staged, home, home + "/.ssh", user.name);
    check_place(staged, home, folder + "/authorized_keys", user.name);
    if (const Node node = staged.look(folder); node.exists() && node.kind != NodeKind::kFolder)
        throw_error(Code::kRefused, "{}: is no folder, so {} can get no keys there; take it away first",
                    folder, user.name);
    std::string text;
    for (const std::string& key : user.ssh_authorized_keys)
        text += key + "\n";
    const std::string before =
        fmt::format("{} keys", count_keys(read_text(staged, folder + "/authorized_keys")));
    staged.change("user " + user.name, folder, Node::folder(0700, account->uid, account->gid), "",
                  fmt::format("mode 0700, owner {}", user.name));
    staged.change("user " + user.name, folder + "/authorized_keys",
                  Node::file(text, 0600, account->uid, account->gid), before,
                  fmt::format("{} keys", user.ssh_authorized_keys.size()));
}

}  // namespace

void stage_users(ItemContext& context) {
    if (context.profile.users.empty()) return;
    const std::string passwd = read_text(context.staged, "/etc/passwd");
    for (const User& user : context.profile.users)
        stage_user(context, user, passwd);
}

}  // namespace dupengine::profiles

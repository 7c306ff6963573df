// Writes a profile as canonical TOML: sections and keys in the order of dupengine-profile(5), nothing that is
// absent.

#include <algorithm>

#include "base/error.h"
#include "profiles/schema.h"

namespace dupengine::profiles {
namespace {

std::string escaped(std::string_view text, bool keep_newlines) {
    std::string out;
    for (char c : text) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if ((c == '\n' && keep_newlines) || (code >= 0x20 && code != 0x7f)) {
            out += c;
        } else {
            out += fmt::format("\\u{:04X}", unsigned{code});
        }
    }
    return out;
}

std::string quoted_string(std::string_view text) {
    return '"' + escaped(text, false) + '"';
}

// Several lines stay several lines, so that a person can read a file's content. TOML drops the newline after
// """.
std::string long_string(std::string_view text) {
    if (text.find('\n') == std::string_view::npos) return quoted_string(text);
    return "\"\"\"\n" + escaped(text, true) + "\"\"\"";
}

std::string array(const std::vector<std::string>& texts) {
    std::string out;
    for (const std::string& text : texts)
        out += (out.empty() ? "" : ", ") + quoted_string(text);
    return "[" + out + "]";
}

class Writer {
  public:
    void line(std::string_view key, const std::string& value) {
        text_ += fmt::format("{} = {}\n", key, value);
    }
    void text(std::string_view key, const std::string& value) {
        if (!value.empty()) line(key, quoted_string(value));
    }
    void list(std::string_view key, const std::vector<std::string>& value) {
        if (!value.empty()) line(key, array(value));
    }
    void item(std::string_view key, const Item& item) {
        if (item.mode == Mode::kSet)
            line(key, fmt::format("{{ mode = \"set\", value = {} }}", quoted_string(item.value)));
        else if (item.mode != Mode::kIgnore)
            line(key, fmt::format("{{ mode = \"{}\" }}", mode_name(item.mode)));
    }
    /// Runs `write`; the heading stays only if something was written under it.
    template <typename Write>
    void section(const char* heading, Write write) {
        const std::size_t before = text_.size();
        text_ += fmt::format("\n{}\n", heading);
        const std::size_t after = text_.size();
        write();
        if (text_.size() == after) text_.resize(before);
    }
    std::string take() { return std::move(text_); }

  private:
    std::string text_;
};

void write_top(Writer& out, const Profile& profile) {
    out.line("schema", std::to_string(profile.schema));
    out.line("kind", profile.kind == Kind::kNode ? "\"node\"" : "\"role\"");
    if (profile.generation != 0) out.line("generation", std::to_string(profile.generation));
    out.text("node", profile.node);
    out.text("role", profile.role);
    out.list("roles", profile.roles);
    out.text("description", profile.description);
}

void write_ssh_host_keys(Writer& out, const SshHostKeys& keys) {
    if (keys == SshHostKeys{}) return;
    out.line("ssh_host_keys",
             fmt::format("{{ mode = \"{}\", types = {} }}", mode_name(keys.mode), array(keys.types)));
}

void write_link(Writer& out, const Link& link) {
    out.text("name", link.name);
    out.item("mac", link.mac);
    if (link.dhcp) out.line("dhcp", "true");
    out.list("addresses", link.addresses);
    out.list("gateways", link.gateways);
    out.list("dns", link.dns);
    if (link.mtu) out.line("mtu", std::to_string(*link.mtu));
    if (!link.up) out.line("up", "false");
}

void write_boot(Writer& out, const Boot& boot) {
    out.text("choice", boot.choice);
    if (boot.timeout_seconds) out.line("timeout", std::to_string(*boot.timeout_seconds));
    out.text("partition", boot.partition);
    out.text("loader", boot.loader);
    out.text("kernel", boot.kernel);
    out.text("initrd", boot.initrd);
    out.text("command_line", boot.command_line);
    out.text("receive_disk", boot.receive_disk);
    out.text("restore_from", boot.restore_from);
    out.text("fallback", boot.fallback);
    out.text("duplicate_from", boot.duplicate_from);
    out.text("report_to", boot.report_to);
    if (boot.tries) out.line("tries", std::to_string(*boot.tries));
}

void write_tables(Writer& out, const Profile& profile) {
    for (const Host& host : profile.hosts)
        out.section("[[host]]", [&] {
            out.text("address", host.address);
            out.list("names", host.names);
        });
    for (const User& user : profile.users)
        out.section("[[user]]", [&] {
            out.text("name", user.name);
            out.line("ssh_authorized_keys", array(user.ssh_authorized_keys));
        });
    for (const File& file : profile.files)
        out.section("[[file]]", [&] {
            out.text("path", file.path);
            out.line("mode", fmt::format("\"{:04o}\"", file.mode));
            out.line("content", long_string(file.content));
        });
    for (const Link& link : profile.links)
        out.section("[[link]]", [&] { write_link(out, link); });
}

}  // namespace

std::string to_toml(const Profile& profile) {
    Writer out;
    write_top(out, profile);
    out.section("[identity]", [&] {
        out.item("hostname", profile.hostname);
        out.item("machine_id", profile.machine_id);
        write_ssh_host_keys(out, profile.ssh_host_keys);
        out.item("random_seed", profile.random_seed);
        out.item("enrolment", profile.enrolment);
    });
    out.section("[storage]", [&] {
        out.item("disk_guid", profile.disk_guid);
        out.item("part_guid", profile.part_guid);
        out.item("fs_uuid", profile.fs_uuid);
        out.item("swap_uuid", profile.swap_uuid);
    });
    out.section("[services]", [&] {
        out.list("enable", profile.services.enable);
        out.list("disable", profile.services.disable);
        out.list("mask", profile.services.mask);
    });
    out.section("[boot]", [&] { write_boot(out, profile.boot); });
    write_tables(out, profile);
    return out.take();
}

}  // namespace dupengine::profiles

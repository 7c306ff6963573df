#pragma once
// Private to schema.cc: one walk over a TOML tree. Collects problems instead of throwing, so that a person
// sees all of them at once, and notes where each key was written.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "profiles/schema.h"

namespace dupengine::profiles {

class SchemaWalk {
  public:
    /// One key of a section and what reads its value. `read` is not called twice for one section.
    struct Key {
        std::string_view name;
        void (*read)(SchemaWalk&, const TomlEntry&);
    };

    SchemaWalk(CheckedProfile& result, const std::string& file) : result_(result), file_(file) {}

    Profile& profile() { return result_.layer.profile; }
    const std::map<std::string, Origin>& given() const { return result_.layer.given; }

    void complain(TomlPosition at, std::string message);
    void note_given(const std::string& key, TomlPosition at) {
        result_.layer.given.emplace(key, Origin{file_, at});
    }

    /// Reads every entry of a table through the section's keys; refuses the rest. `shown` is the section as a
    /// person writes it: "[identity]", or "" for the top level.
    void section(const TomlNode& table, std::span<const Key> keys, std::string_view shown);

    // Each answers nothing, after a complaint, if the value is of another type or too large.
    std::optional<std::string> text(const TomlEntry& entry, std::size_t limit_bytes);
    std::optional<std::uint64_t> number(const TomlEntry& entry);
    std::optional<bool> boolean(const TomlEntry& entry);
    /// An array of strings, with the position of each.
    std::vector<TomlEntry> texts(const TomlEntry& entry);
    bool is(const TomlEntry& entry, TomlNode::Kind kind, std::string_view wanted);
    /// The tables of `[[key]]`.
    std::vector<const TomlNode*> tables(const TomlEntry& entry);

  private:
    bool is_list(const TomlEntry& entry, std::string_view wanted);
    CheckedProfile& result_;
    const std::string& file_;
};

// What reads one key's value into walk.profile(), and checks that span several keys. schema.cc lists the
// keys.

// schema_items.cc: [identity] and [storage].
void read_item(SchemaWalk& walk, const TomlEntry& item);
void read_ssh_host_keys(SchemaWalk& walk, const TomlEntry& item);
/// A role is shared by many nodes: none of their identities may be written into it.
void check_nothing_set(SchemaWalk& walk);
/// Reads `{ mode = "...", value = "..." }` or a plain string of an item that is no key of a section.
void read_item_into(SchemaWalk& walk, const TomlEntry& item, Item& into, const std::vector<Mode>& modes,
                    std::string (*value_fault)(std::string_view));

// schema_links.cc: [[link]].
void read_links(SchemaWalk& walk, const TomlEntry& entry);
/// As check_nothing_set(), of addresses.
void check_links_of_role(SchemaWalk& walk);

// schema_boot.cc: [boot].
void read_boot(SchemaWalk& walk, const TomlEntry& entry);

// schema_lists.cc: [services], [[host]], [[user]], [[file]], roles.
void read_units(SchemaWalk& walk, const TomlEntry& entry, std::vector<std::string>& into);
void read_hosts(SchemaWalk& walk, const TomlEntry& entry);
void read_users(SchemaWalk& walk, const TomlEntry& entry);
void read_files(SchemaWalk& walk, const TomlEntry& entry);
void read_roles(SchemaWalk& walk, const TomlEntry& entry);
void check_contradictions(SchemaWalk& walk);
void check_nested_paths(SchemaWalk& walk);

/// The longest text of a key that is not a file's content.
inline constexpr std::size_t kShortText = 4096;

}  // namespace dupengine::profiles

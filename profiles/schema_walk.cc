#include "profiles/schema_walk.h"

#include "profiles/names.h"

namespace dupengine::profiles {
namespace {

constexpr std::size_t kProblemLimit = 100;
constexpr std::size_t kListLimit = 1024;  // entries; several checks compare each with each

}  // namespace

void SchemaWalk::complain(TomlPosition at, std::string message) {
    if (result_.problems.size() < kProblemLimit)
        result_.problems.push_back({{file_, at}, std::move(message)});
}

void SchemaWalk::section(const TomlNode& table, std::span<const Key> keys, std::string_view shown) {
    for (const TomlEntry& entry : table.entries) {
        if (result_.problems.size() >= kProblemLimit) return;  // nothing further would be shown
        if (entry.key.starts_with("x-")) continue;
        const Key* found = nullptr;
        std::vector<std::string_view> known;
        for (const Key& key : keys) {
            known.push_back(key.name);
            if (key.name == entry.key) found = &key;
        }
        if (found != nullptr) {
            found->read(*this, entry);
            continue;
        }
        const std::string near = nearest_name(entry.key, known);
        complain(entry.at, fmt::format("unknown key {}{}{}", quoted(entry.key),
                                       shown.empty() ? "" : fmt::format(" in {}", shown),
                                       near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
}

bool SchemaWalk::is(const TomlEntry& entry, TomlNode::Kind kind, std::string_view wanted) {
    if (entry.value.kind == kind) return true;
    complain(entry.value.at, fmt::format("{} must be {}, not {}", entry.key, wanted, entry.value.kind_name));
    return false;
}

bool SchemaWalk::is_list(const TomlEntry& entry, std::string_view wanted) {
    if (!is(entry, TomlNode::Kind::kArray, wanted)) return false;
    if (entry.value.items.size() <= kListLimit) return true;
    complain(entry.value.at, fmt::format("{} has more than {} entries", entry.key, kListLimit));
    return false;
}

std::optional<std::string> SchemaWalk::text(const TomlEntry& entry, std::size_t limit_bytes) {
    if (!is(entry, TomlNode::Kind::kString, "a string")) return std::nullopt;
    if (entry.value.text.size() <= limit_bytes) return entry.value.text;
    complain(entry.value.at, fmt::format("{} is longer than {} bytes", entry.key, limit_bytes));
    return std::nullopt;
}

std::optional<std::uint64_t> SchemaWalk::number(const TomlEntry& entry) {
    if (!is(entry, TomlNode::Kind::kInteger, "an integer")) return std::nullopt;
    if (entry.value.integer >= 0) return static_cast<std::uint64_t>(entry.value.integer);
    complain(entry.value.at, fmt::format("{} may not be negative", entry.key));
    return std::nullopt;
}

std::optional<bool> SchemaWalk::boolean(const TomlEntry& entry) {
    if (!is(entry, TomlNode::Kind::kBoolean, "true or false")) return std::nullopt;
    return entry.value.integer != 0;
}

std::vector<TomlEntry> SchemaWalk::texts(const TomlEntry& entry) {
    std::vector<TomlEntry> found;
    if (!is_list(entry, "an array of strings")) return found;
    for (const TomlNode& item : entry.value.items) {
        const TomlEntry one{"each entry of " + entry.key, item.at, item};
        if (is(one, TomlNode::Kind::kString, "a string")) found.push_back(one);
    }
    return found;
}

std::vector<const TomlNode*> SchemaWalk::tables(const TomlEntry& entry) {
    std::vector<const TomlNode*> found;
    const std::string wanted = fmt::format("written as [[{}]]", entry.key);
    if (!is_list(entry, wanted)) return found;
    for (const TomlNode& item : entry.value.items)
        if (is({entry.key, item.at, item}, TomlNode::Kind::kTable, wanted)) found.push_back(&item);
    return found;
}

}  // namespace dupengine::profiles

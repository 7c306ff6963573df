#pragma once
// Changes that are only thought of: a Tree over another Tree that shows what the system will look like and
// writes nothing. Personality items work on it as if it were the system; afterwards it tells, per path, what
// stood there and what shall stand there. Renames come first and are seen at once by everything after them.

#include <optional>
#include <variant>

#include "profiles/system/tree.h"

namespace dupengine::profiles {

/// One line of a plan, for a person.
struct Change {
    std::string item;   ///< "hostname", "fs_uuid", ...
    std::string where;  ///< a path, or "partition 2 (ext4)"
    std::string before, after;
    bool operator==(const Change&) const = default;
};

struct PutAction {
    std::string path;
    Node before, after;
};
struct RenameAction {
    std::string from, to;
};

class Staged final : public Tree {
  public:
    explicit Staged(const Tree& base) : base_(base) {}

    /// As put(), at the place that `path` resolves to (a file: links followed; a link: not), with the folders
    /// above it that are missing (0755, root), and with a line for the person. Nothing happens if it stands
    /// there already.
    void change(const std::string& item, const std::string& path, const Node& node, const std::string& before,
                const std::string& after);
    /// A line without an effect of its own.
    void note(Change line) { changes_.push_back(std::move(line)); }

    Node look(const std::string& path) const override;
    Node take(const std::string& path) const override;
    std::vector<std::string> list(const std::string& path) const override;
    void put(const std::string& path, const Node& node) override;
    /// Throws kRefused if something stands at `to`, kInternal after the first put().
    void rename(const std::string& from, const std::string& to) override;
    bool renames_whole(const std::string& path) const override { return base_.renames_whole(path); }
    void sweep(const std::string&) override {}
    Node as_stored(const std::string& path, const Node& node) const override {
        return base_.as_stored(path, node);
    }
    std::uint64_t free_bytes(const std::string& path) const override { return base_.free_bytes(path); }

    const std::vector<Change>& changes() const { return changes_; }
    const std::vector<RenameAction>& renames() const { return renames_; }
    /// What differs from the base in the end; a folder comes before what is in it.
    std::vector<PutAction> puts() const;

  private:
    /// Where the content of `path` is in the base; empty if it was renamed away.
    std::optional<std::string> base_path(const std::string& path) const;
    void make_folders(const std::string& item, const std::string& path);

    const Tree& base_;
    std::vector<RenameAction> renames_;
    std::map<std::string, PutAction> puts_;
    std::vector<Change> changes_;
};

}  // namespace dupengine::profiles

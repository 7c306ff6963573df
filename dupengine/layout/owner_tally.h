#pragma once
// Counts which files the given places belong to, and then gives the files their paths: the part of
// file_owners.h that does not depend on the filesystem. Memory is bounded, whatever a disk claims: past the
// limits files are counted together. Internal to layout/. Used by one thread.

#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "layout/file_owners.h"

namespace dupengine::layout {

/// FileOwners::reason where only a part of the filesystem can be looked at.
inline constexpr const char* kNamesMayBeMissing =
    "some of its structures are damaged or cannot be read; names may be missing";

/// The folder that has a file, and the file's name in it.
struct NameInFolder {
    std::uint64_t folder = 0;
    std::string name;
};

class OwnerTally {
  public:
    /// As many files get a path of their own.
    static constexpr std::size_t kFileLimit = std::size_t{1} << 16;

    /// `places` outlives this.
    explicit OwnerTally(const block::ExtentSet& places);

    /// The places in `extent` belong to this file (by its number).
    void add(std::uint64_t file, block::Extent extent);
    /// ... or to a structure of the filesystem, which people know by this name: "(journal)".
    void add_structure(const std::string& name, block::Extent extent);
    bool touches(block::Extent extent) const { return bytes_in(extent) != 0; }
    const std::map<std::uint64_t, std::uint64_t>& bytes_of_files() const { return files_; }

    /// Paths from `root` down. `kind` is what a file without a name is called: "inode".
    using NameOf = std::function<std::optional<NameInFolder>(std::uint64_t file)>;
    FileOwners name(std::uint64_t root, const std::string& kind, const NameOf& name_of) const;
    /// As name, with the whole text of what a file without a name is called.
    using TextOf = std::function<std::string(std::uint64_t file)>;
    FileOwners name(std::uint64_t root, const TextOf& text_without_name, const NameOf& name_of) const;

  private:
    std::uint64_t bytes_in(block::Extent extent) const;

    const block::ExtentSet& places_;
    std::vector<std::uint64_t> bytes_before_;  // of all places before this one
    std::map<std::uint64_t, std::uint64_t> files_;
    std::map<std::string, std::uint64_t> structures_;
    std::uint64_t further_bytes_ = 0;
};

/// The folders of a filesystem that keeps names in them.
class Folders {
  public:
    virtual ~Folders() = default;
    virtual void for_each(const std::function<void(std::uint64_t folder)>& on_folder) = 0;
    /// Every entry but ".", ".." with the rest, until `on_entry` says false. What is damaged is left out.
    using OnEntry = std::function<bool(std::uint64_t file, std::string_view name)>;
    virtual void read(std::uint64_t folder, const OnEntry& on_entry) = 0;
};

/// One name for every file of the tally, and for the folders above it: one pass over all folders, and then
/// only those on the way up to `root`.
std::unordered_map<std::uint64_t, NameInFolder> find_names(Folders& folders, std::uint64_t root,
                                                           const OwnerTally& tally);

}  // namespace dupengine::layout

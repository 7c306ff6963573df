#include "layout/owner_tally.h"

#include <algorithm>
#include <set>

namespace dupengine::layout {
namespace {

constexpr std::size_t kPathLimit = 32 * kKiB;  // bytes of one path
constexpr std::size_t kTextLimit = 16 * kMiB;  // bytes of all paths
constexpr std::size_t kNameLimit = 4 * OwnerTally::kFileLimit;
constexpr int kDeepest = 1000;  // folders above a file

std::string path_of(std::uint64_t file, std::uint64_t root, const OwnerTally::TextOf& text_without_name,
                    const OwnerTally::NameOf& name_of) {
    if (file == root) return "/";
    std::vector<std::string> names;
    std::set<std::uint64_t> passed;
    std::size_t bytes = 0;
    for (; file != root;) {
        const std::optional<NameInFolder> found = name_of(file);
        // Damaged folders can contain each other.
        if (!found || names.size() == kDeepest || bytes > kPathLimit || !passed.insert(file).second) {
            names.push_back(text_without_name(file));
            break;
        }
        bytes += found->name.size() + 1;
        names.push_back("/" + found->name);
        file = found->folder;
    }
    std::string path;
    for (auto name = names.rbegin(); name != names.rend(); ++name)
        path += *name;
    return path;
}

// The folders whose names are not known yet, by the folder that each says it is in.
std::map<std::uint64_t, std::set<std::uint64_t>> by_parent(Folders& folders,
                                                           const std::set<std::uint64_t>& unnamed) {
    std::map<std::uint64_t, std::set<std::uint64_t>> children;
    for (const std::uint64_t folder : unnamed)
        folders.read(folder, [&](std::uint64_t file, std::string_view name) {
            if (name != "..") return true;
            children[file].insert(folder);
            return false;
        });
    return children;
}

}  // namespace

OwnerTally::OwnerTally(const block::ExtentSet& places) : places_(places) {
    std::uint64_t total = 0;
    for (block::Extent e : places) {
        bytes_before_.push_back(total);
        total += e.size();
    }
    bytes_before_.push_back(total);
}

// Two binary searches: a disk may claim that each of its files has all of it.
std::uint64_t OwnerTally::bytes_in(block::Extent extent) const {
    if (extent.empty()) return 0;
    const auto bytes_up_to = [&](ByteOffset at) {
        const auto place = std::partition_point(places_.begin(), places_.end(),
                                                [&](block::Extent e) { return e.end <= at; });
        const auto index = static_cast<std::size_t>(place - places_.begin());
        const bool inside = place != places_.end() && place->begin < at;
        return bytes_before_[index] + (inside ? at - place->begin : 0);
    };
    return bytes_up_to(extent.end) - bytes_up_to(extent.begin);
}

void OwnerTally::add(std::uint64_t file, block::Extent extent) {
    const std::uint64_t bytes = bytes_in(extent);
    if (bytes == 0) return;
    if (files_.size() >= kFileLimit && !files_.contains(file))
        further_bytes_ += bytes;
    else
        files_[file] += bytes;
}

void OwnerTally::add_structure(const std::string& name, block::Extent extent) {
    if (const std::uint64_t bytes = bytes_in(extent); bytes != 0) structures_[name] += bytes;
}

FileOwners OwnerTally::name(std::uint64_t root, const std::string& kind, const NameOf& name_of) const {
    return name(
        root, [&](std::uint64_t file) { return fmt::format("({} {})", kind, file); }, name_of);
}

FileOwners OwnerTally::name(std::uint64_t root, const TextOf& text_without_name,
                            const NameOf& name_of) const {
    FileOwners owners;
    std::uint64_t owned = 0, further = further_bytes_, text = 0;
    for (const auto& [file, bytes] : files_) {
        owned += bytes;
        if (text > kTextLimit) {
            further += bytes;
            continue;
        }
        owners.files.push_back({path_of(file, root, text_without_name, name_of), bytes});
        text += owners.files.back().path.size();
    }
    for (const auto& [name, bytes] : structures_) {
        owners.files.push_back({name, bytes});
        owned += bytes;
    }
    if (further != 0) owners.files.push_back({"(further files)", further});
    std::sort(owners.files.begin(), owners.files.end(),
              [](const FileOwner& a, const FileOwner& b) { return a.path < b.path; });
    // A block that several files share, or count twice, is no more than itself.
    owners.other_bytes = bytes_before_.back() - std::min(owned + further_bytes_, bytes_before_.back());
    return owners;
}

std::unordered_map<std::uint64_t, NameInFolder> find_names(Folders& folders, std::uint64_t root,
                                                           const OwnerTally& tally) {
    std::unordered_map<std::uint64_t, NameInFolder> names;
    if (tally.bytes_of_files().empty()) return names;
    folders.for_each([&](std::uint64_t folder) {
        folders.read(folder, [&](std::uint64_t file, std::string_view name) {
            if (name != ".." && tally.bytes_of_files().contains(file))
                names.try_emplace(file, NameInFolder{folder, std::string(name)});
            return true;
        });
    });
    std::set<std::uint64_t> asked, unnamed;
    const auto ask_for = [&](std::uint64_t folder) {
        if (folder != root && !names.contains(folder) && asked.insert(folder).second) unnamed.insert(folder);
    };
    for (const auto& [file, found] : names)
        ask_for(found.folder);
    for (int depth = 0; depth < kDeepest && !unnamed.empty() && names.size() < kNameLimit; ++depth) {
        const auto children = by_parent(folders, unnamed);
        unnamed.clear();
        for (const auto& [parent, wanted] : children) {
            folders.read(parent,
                         [&, parent = parent, &wanted = wanted](std::uint64_t file, std::string_view name) {
                             if (name != ".." && wanted.contains(file))
                                 names.try_emplace(file, NameInFolder{parent, std::string(name)});
                             return true;
                         });
            ask_for(parent);
        }
    }
    return names;
}

}  // namespace dupengine::layout

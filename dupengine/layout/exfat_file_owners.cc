// From clusters to files of exFAT (Microsoft's "exFAT file system specification", revision 1.00): the folders
// are walked from the root. A file is a set of entries with a checksum; mostly its clusters lie in one piece,
// of which the FAT knows nothing.

#include "layout/cluster_tree.h"
#include "layout/exfat_volume.h"
#include "layout/utf16.h"

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kFolderLimit = 256 * kMiB;  // section 7.4

class ExfatFormat final : public ClusterFormat {
  public:
    std::uint32_t table_entry(std::span<const std::byte> piece, std::uint64_t index) const override {
        return load_le<std::uint32_t>(piece, static_cast<std::size_t>(index * 4));
    }

    void enter(const ClusterFile&) override {
        ++depth_;
        resume();
    }

    void leave() override {
        --depth_;
        resume();
    }

    void resume() override { set_.clear(); }

    std::optional<ClusterFile> take(std::span<const std::byte> entry) override {
        constexpr unsigned kInUse = 0x80, kSecondary = 0x40, kBitmap = 0x81, kUpCase = 0x82, kFile = 0x85;
        const auto type = std::to_integer<unsigned>(entry[0]);
        const bool is_secondary = (type & kInUse) != 0 && (type & kSecondary) != 0;
        if (is_secondary) return set_.empty() ? damaged() : take_secondary(entry);
        const bool was_cut = !set_.empty();
        set_.clear();
        if (type == kFile) set_.assign(entry.begin(), entry.end());
        if (was_cut) return damaged();
        if (depth_ == 1 && type == kBitmap) return structure("(allocation bitmap)", entry);
        if (depth_ == 1 && type == kUpCase) return structure("(up-case table)", entry);
        return {};
    }

  private:
    static ClusterFile structure(const char* name, std::span<const std::byte> entry) {
        ClusterFile file;
        file.name = name;
        file.is_structure = true;
        file.first = load_le<std::uint32_t>(entry, 20);
        file.bytes = load_le<std::uint64_t>(entry, 24);
        return file;
    }

    std::optional<ClusterFile> take_secondary(std::span<const std::byte> entry) {
        set_.insert(set_.end(), entry.begin(), entry.end());
        const std::size_t entries = 1 + load_le<std::uint8_t>(set_, 1);
        if (set_.size() < entries * kEntryBytes) return {};
        const Bytes set = std::exchange(set_, {});
        return checksum_matches(set) ? file_of(set) : damaged();
    }

    static bool checksum_matches(std::span<const std::byte> set) {
        std::uint16_t sum = 0;
        for (std::size_t i = 0; i < set.size(); ++i)
            if (i != 2 && i != 3)
                sum = static_cast<std::uint16_t>((sum << 15 | sum >> 1) + std::to_integer<unsigned>(set[i]));
        return sum == load_le<std::uint16_t>(set, 2);
    }

    // The entry of the file, that of its clusters, and those of its name.
    std::optional<ClusterFile> file_of(std::span<const std::byte> set) {
        constexpr std::byte kStream{0xC0}, kName{0xC1};
        constexpr unsigned kFolder = 0x10, kHasClusters = 1, kContiguous = 2;
        const auto stream = set.subspan(kEntryBytes, kEntryBytes);
        if (stream[0] != kStream) return damaged();
        Bytes units;
        for (std::size_t at = 2 * kEntryBytes; at < set.size() && set[at] == kName; at += kEntryBytes) {
            const auto piece = set.subspan(at + 2, kEntryBytes - 2);
            units.insert(units.end(), piece.begin(), piece.end());
        }
        const std::size_t name_bytes = load_le<std::uint8_t>(stream, 3) * std::size_t{2};
        if (name_bytes == 0 || name_bytes > units.size()) return damaged();
        const auto flags = load_le<std::uint8_t>(stream, 1);
        ClusterFile file;
        file.name = utf8_from_utf16(std::span(units).first(name_bytes)).utf8;
        file.is_folder = (load_le<std::uint16_t>(set, 4) & kFolder) != 0;
        file.contiguous = (flags & kContiguous) != 0;
        file.first = load_le<std::uint32_t>(stream, 20);
        file.bytes = (flags & kHasClusters) != 0 ? load_le<std::uint64_t>(stream, 24) : 0;
        if (file.name.empty() || (file.is_folder && file.bytes > kFolderLimit)) return damaged();
        return file;
    }

    Bytes set_;  // what has been read of it
    unsigned depth_ = 0;
};

}  // namespace

FileOwners exfat_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    const ExfatVolume volume = read_exfat_volume(part);
    ClusterLayout layout;
    layout.tables = {volume.fat_begin};
    layout.end_of_chain = 0xFFFFFFFF;
    layout.data_begin = volume.heap_begin;
    layout.cluster_bytes = volume.cluster_bytes;
    layout.clusters = volume.clusters;
    const std::uint64_t fat_bytes = (volume.clusters + ClusterLayout::kFirstCluster) * 4;
    OwnerTally tally(places);
    tally.add_structure("(boot sectors)", {0, volume.fat_begin});
    tally.add_structure("(file allocation table)", {volume.fat_begin, volume.fat_begin + fat_bytes});
    ClusterFile root;
    root.is_folder = true;
    root.first = volume.root;
    root.bytes = kFolderLimit;
    root.ends_with_chain = true;
    ExfatFormat format;
    return find_cluster_owners(part, layout, format, root, tally);
}

}  // namespace dupengine::layout

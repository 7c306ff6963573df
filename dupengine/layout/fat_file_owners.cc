// From clusters to files of FAT12, FAT16 and FAT32 (fatgen103, "FAT Directory Structure", "Long Directory
// Entries"): the folders are walked from the root, and of each file the chain in the FAT. A folder is
// believed if its first entry says that it is there ("."), a long name if it carries the checksum of the
// short one. Short names that are not ASCII stand as they are: nothing says in which code page.

#include <algorithm>

#include "layout/cluster_tree.h"
#include "layout/fat_entries.h"
#include "layout/utf16.h"

namespace dupengine::layout {
namespace {

using Width = FatVolume::Width;

constexpr std::uint64_t kFolderLimit = 65536 * ClusterFormat::kEntryBytes;
constexpr std::size_t kShortNameBytes = 11;
constexpr std::uint32_t kClusterMask = 0x0FFFFFFF;

enum Attribute : unsigned { kLabel = 0x08, kFolder = 0x10, kLongName = 0x0F, kAll = 0x3F };

unsigned attributes_of(std::span<const std::byte> entry) {
    return std::to_integer<unsigned>(entry[11]);
}

// The pieces of a long name come in front of the short one, the last piece first.
class LongName {
  public:
    void forget() { expected_ = kNone; }

    void take(std::span<const std::byte> entry) {
        constexpr unsigned kLast = 0x40, kMostPieces = 20;
        const unsigned order = std::to_integer<unsigned>(entry[0]), number = order & ~kLast;
        const unsigned sum = std::to_integer<unsigned>(entry[13]);
        if ((order & kLast) != 0 && number >= 1 && number <= kMostPieces) {
            units_.assign(number * kPieceBytes, std::byte{0});
            sum_ = sum;
        } else if (number == 0 || number != expected_ || sum != sum_) {
            return forget();
        }
        struct Part {
            std::size_t at, bytes;
        };
        std::size_t to = (number - 1) * kPieceBytes;
        for (const Part& part : {Part{1, 10}, Part{14, 12}, Part{28, 4}}) {
            std::copy_n(entry.begin() + static_cast<std::ptrdiff_t>(part.at), part.bytes,
                        units_.begin() + static_cast<std::ptrdiff_t>(to));
            to += part.bytes;
        }
        expected_ = number - 1;
    }

    /// The whole name, if it belongs to this short one; else empty.
    std::string name_of(std::span<const std::byte> short_name) const {
        unsigned sum = 0;
        for (const std::byte byte : short_name)
            sum = (((sum & 1) << 7 | sum >> 1) + std::to_integer<unsigned>(byte)) & 0xFF;
        if (expected_ != 0 || sum != sum_) return {};
        return utf8_from_utf16(units_).utf8;
    }

  private:
    static constexpr std::size_t kPieceBytes = 26;
    static constexpr unsigned kNone = ~0u;
    Bytes units_;
    unsigned expected_ = kNone;  // the piece that comes next; 0: the short name
    unsigned sum_ = 0;
};

bool is_short_name(std::span<const std::byte> name) {
    constexpr unsigned char kJapanese = 0x05;  // for a first byte of E5, which would mean a deleted one
    const std::string_view text = as_text(name);
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if ((c < 0x20 && !(i == 0 && c == kJapanese)) ||
            std::string_view("\"*+,./:;<=>?[\\]|").find(text[i]) != std::string_view::npos)
            return false;
    }
    return text[0] != ' ';
}

// "NAME    TXT" as people write it. Two bits say which half is lower case, so that it needs no long name.
std::string short_name_of(std::span<const std::byte> entry) {
    const auto lower_halves = std::to_integer<unsigned>(entry[12]);
    const auto half = [&](std::size_t at, std::size_t size, bool is_lower) {
        std::string text(as_text(entry.subspan(at, size)));
        text.erase(text.find_last_not_of(' ') + 1);
        for (char& c : text)
            if (is_lower && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        return text;
    };
    std::string name = half(0, 8, (lower_halves & 0x08) != 0);
    if (name[0] == 0x05) name[0] = static_cast<char>(0xE5);
    const std::string extension = half(8, 3, (lower_halves & 0x10) != 0);
    return extension.empty() ? name : name + "." + extension;
}

class FatFormat final : public ClusterFormat {
  public:
    explicit FatFormat(Width width) : width_(width) {}

    std::uint32_t table_entry(std::span<const std::byte> piece, std::uint64_t index) const override {
        return fat_entry_in(width_, piece, index);
    }

    void enter(const ClusterFile& folder) override {
        resume();
        if (folder.name.empty()) return;  // the root is in no folder and says nothing of itself
        expected_ = Expected::kItself;
        folder_ = folder.first;
    }

    void leave() override { resume(); }

    void resume() override {
        long_name_.forget();
        expected_ = Expected::kFiles;
    }

    std::optional<ClusterFile> take(std::span<const std::byte> entry) override {
        if (expected_ == Expected::kNothing) return {};
        if (expected_ != Expected::kFiles) return take_dots(entry);
        constexpr std::byte kDeleted{0xE5};
        if (entry[0] == kDeleted) {
            long_name_.forget();
            return {};
        }
        if ((attributes_of(entry) & kAll) == kLongName) {
            long_name_.take(entry);
            return {};
        }
        const auto short_name = entry.first(kShortNameBytes);
        std::string name = long_name_.name_of(short_name);
        long_name_.forget();
        if ((attributes_of(entry) & kLabel) != 0) return {};
        if (!is_short_name(short_name)) return damaged();
        if (name.empty()) name = short_name_of(entry);
        return file(entry, std::move(name));
    }

  private:
    enum class Expected { kItself, kParent, kFiles, kNothing };

    // What stands first in every folder. Without it these are some other bytes.
    std::optional<ClusterFile> take_dots(std::span<const std::byte> entry) {
        const bool is_itself = expected_ == Expected::kItself;
        const std::string_view name = as_text(entry.first(kShortNameBytes));
        if (name != (is_itself ? ".          " : "..         ") || (attributes_of(entry) & kFolder) == 0 ||
            (is_itself && first_cluster(entry) != folder_)) {
            expected_ = Expected::kNothing;
            return damaged();
        }
        expected_ = is_itself ? Expected::kParent : Expected::kFiles;
        return {};
    }

    std::uint32_t first_cluster(std::span<const std::byte> entry) const {
        const std::uint32_t low = load_le<std::uint16_t>(entry, 26);
        if (width_ != Width::k32) return low;
        return (std::uint32_t{load_le<std::uint16_t>(entry, 20)} << 16 | low) & kClusterMask;
    }

    std::optional<ClusterFile> file(std::span<const std::byte> entry, std::string name) const {
        ClusterFile file;
        file.name = std::move(name);
        file.first = first_cluster(entry);
        file.is_folder = (attributes_of(entry) & kFolder) != 0;
        file.ends_with_chain = file.is_folder;  // its entry gives no size
        file.bytes = file.is_folder ? kFolderLimit : load_le<std::uint32_t>(entry, 28);
        return file;
    }

    Width width_;
    LongName long_name_;
    Expected expected_ = Expected::kFiles;
    std::uint32_t folder_ = 0;
};

ClusterLayout layout_of(const FatVolume& volume) {
    ClusterLayout layout;
    for (unsigned copy = 0; copy < volume.fat_copies; ++copy)
        if (volume.mirrored || copy == volume.active_copy)
            layout.tables.push_back(volume.fat_begin + copy * volume.fat_bytes);
    layout.entry_bits = static_cast<unsigned>(volume.width);
    layout.end_of_chain = volume.width == Width::k12   ? 0xFF8
                          : volume.width == Width::k16 ? 0xFFF8
                                                       : 0x0FFFFFF8;
    layout.data_begin = volume.data_begin;
    layout.cluster_bytes = volume.cluster_bytes;
    layout.clusters = volume.clusters;
    return layout;
}

}  // namespace

FileOwners fat_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    const FatVolume volume = read_fat_volume(part);
    OwnerTally tally(places);
    tally.add_structure("(boot sectors)", {0, volume.fat_begin});
    tally.add_structure("(file allocation table)", {volume.fat_begin, volume.fats_end()});
    ClusterFile root;
    root.is_folder = true;
    if (volume.width == Width::k32) {
        root.first = static_cast<std::uint32_t>(volume.root_cluster);
        root.bytes = kFolderLimit;
        root.ends_with_chain = true;
    } else {
        root.place = {volume.fats_end(), volume.data_begin};
    }
    FatFormat format(volume.width);
    return find_cluster_owners(part, layout_of(volume), format, root, tally);
}

}  // namespace dupengine::layout

#include "layout/cluster_tree.h"

#include <algorithm>
#include <bitset>
#include <deque>

namespace dupengine::layout {
namespace {

using block::Extent;

constexpr std::size_t kNameLimit = 4 * OwnerTally::kFileLimit;
constexpr std::size_t kDeepest = 1000;     // folders above a file
constexpr std::uint64_t kUnit = 4 * kKiB;  // of a folder: what one bad sector hides

bool is_of_the_disk(const Error& e) {
    return e.code() == Code::kIntegrity || e.code() == Code::kSourceIo;
}

// The table in pieces, kept as long as there is room: chains mostly go on close by.
class ClusterTable {
  public:
    ClusterTable(const block::Reader& part, const ClusterLayout& layout, const ClusterFormat& format)
        : part_(part), layout_(layout), format_(format) {}

    std::uint32_t entry(std::uint64_t cluster) {
        const std::uint64_t number = cluster / kEntries;
        auto found = pieces_.find(number);
        if (found == pieces_.end()) {
            if (pieces_.size() == kPiecesKept) pieces_.clear();
            found = pieces_.emplace(number, read(number)).first;
        }
        return format_.table_entry(found->second, cluster % kEntries);
    }

  private:
    static constexpr std::uint64_t kEntries = 8192;       // whole bytes at any width
    static constexpr std::size_t kPiecesKept = 2048;      // 64 MiB at most
    static constexpr std::uint64_t kReadLimit = 1 << 20;  // only chains that jump about come that far

    Bytes read(std::uint64_t number) {
        if (reads_++ == kReadLimit) throw_error(Code::kIntegrity, "its chains have too many pieces");
        const std::uint64_t entries = layout_.clusters + ClusterLayout::kFirstCluster;
        const std::uint64_t count = std::min(kEntries, entries - number * kEntries);
        const std::uint64_t at = number * kEntries * layout_.entry_bits / 8,
                            size = (count * layout_.entry_bits + 7) / 8;
        for (auto table = layout_.tables.begin();; ++table) {
            try {
                return block::read_extent(part_, {*table + at, *table + at + size});
            } catch (const Error& e) {
                if (e.code() != Code::kSourceIo || table + 1 == layout_.tables.end()) throw;
            }
        }
    }

    const block::Reader& part_;
    const ClusterLayout& layout_;
    const ClusterFormat& format_;
    std::unordered_map<std::uint64_t, Bytes> pieces_;
    std::uint64_t reads_ = 0;
};

// Which clusters some chain has: no sound one is in two, and none twice in one.
class Claims {
  public:
    /// Returns whether the cluster was nobody's.
    bool claim(std::uint64_t cluster) {
        const std::uint64_t number = cluster / kBits;
        if (pages_.size() == kPageLimit && !pages_.contains(number)) return false;
        auto bit = pages_[number][cluster % kBits];
        const bool was_free = !bit;
        bit = true;
        return was_free;
    }

  private:
    static constexpr std::size_t kBits = std::size_t{1} << 16;
    static constexpr std::size_t kPageLimit = 8192;  // 64 MiB
    std::unordered_map<std::uint64_t, std::bitset<kBits>> pages_;
};

class Search {
  public:
    Search(const block::Reader& part, const ClusterLayout& layout, ClusterFormat& format, OwnerTally& tally)
        : part_(part), layout_(layout), format_(format), tally_(tally), table_(part, layout, format) {}

    FileOwners run(const ClusterFile& root) {
        take(root, kRoot, {});
        while (!open_.empty())
            if (!step(open_.back())) {
                open_.pop_back();
                format_.leave();
            }
        FileOwners owners =
            tally_.name(kRoot, "entry", [this](std::uint64_t file) -> std::optional<NameInFolder> {
                const auto found = names_.find(file);
                if (found == names_.end()) return {};
                return found->second;
            });
        if (!complete_ || !format_.complete()) owners.reason = kNamesMayBeMissing;
        return owners;
    }

  private:
    // A file's number is the place of its last entry. There the root has the boot sector.
    static constexpr std::uint64_t kRoot = 0;

    struct Folder {
        std::uint64_t number = 0;
        NameInFolder found;
        std::uint64_t cluster = 0;        // that `rest` is in
        std::uint64_t clusters_left = 0;  // behind it
        bool contiguous = false;
        Extent rest;  // still to be read
        Extent unit_place;
        Bytes unit;
        std::size_t at = 0;  // of the next entry in the unit
    };

    // Takes the next entry. Returns false if there is none.
    bool step(Folder& folder) {
        if (folder.at == folder.unit.size()) return read_on(folder);
        const ByteOffset place = folder.unit_place.begin + folder.at;
        const auto entry = std::span(folder.unit).subspan(folder.at, ClusterFormat::kEntryBytes);
        if (entry[0] == std::byte{0}) return false;
        folder.at += entry.size();
        if (const auto file = format_.take(entry)) take(*file, place, {folder.number, file->name});
        return true;
    }

    bool read_on(Folder& folder) {
        if (folder.rest.empty() && !go_to_next_cluster(folder)) return false;
        folder.unit_place = {folder.rest.begin, std::min(folder.rest.begin + kUnit, folder.rest.end)};
        folder.rest.begin = folder.unit_place.end;
        folder.unit.clear();
        folder.at = 0;
        if (!tolerating([&] { folder.unit = block::read_extent(part_, folder.unit_place); }))
            format_.resume();
        return true;
    }

    bool go_to_next_cluster(Folder& folder) {
        if (folder.clusters_left == 0) return false;
        --folder.clusters_left;
        ++folder.cluster;
        // The chain was walked before, but a mounted filesystem changes.
        if (!folder.contiguous && !tolerating([&] {
                folder.cluster = table_.entry(folder.cluster - 1);
                if (!layout_.has(folder.cluster)) throw_error(Code::kIntegrity, "a folder changes");
            }))
            return false;
        folder.rest = layout_.bytes_of(folder.cluster, 1);
        return true;
    }

    void take(const ClusterFile& file, std::uint64_t number, const NameInFolder& found) {
        if (!file.place.empty()) tally_.add(number, file.place);
        const std::uint64_t clusters = follow(file, [&](Extent run) {
            if (file.is_structure)
                tally_.add_structure(file.name, run);
            else
                tally_.add(number, run);
        });
        if (!file.is_structure && tally_.bytes_of_files().contains(number)) remember(number, found);
        if (!file.is_folder || (clusters == 0 && file.place.empty())) return;
        if (open_.size() == kDeepest) {
            complete_ = false;
            return;
        }
        Folder folder{.number = number, .found = found, .contiguous = file.contiguous, .rest = file.place};
        if (clusters != 0) {
            folder.cluster = file.first;
            folder.clusters_left = clusters - 1;
            folder.rest = layout_.bytes_of(file.first, 1);
        }
        open_.push_back(std::move(folder));
        format_.enter(file);
    }

    // Returns how many clusters are the file's. Damage ends it earlier.
    template <typename OnRun>
    std::uint64_t follow(const ClusterFile& file, OnRun on_run) {
        const std::uint64_t size = layout_.cluster_bytes,
                            wanted = file.bytes / size + (file.bytes % size == 0 ? 0 : 1);
        if (wanted == 0) return 0;
        if (file.contiguous && !file.is_folder) return follow_contiguous(file, wanted, on_run);
        std::uint64_t count = 0;
        bool ended = false;
        Extent run;
        for (std::uint64_t cluster = file.first; count < wanted && !ended;) {
            std::uint64_t next = cluster + 1;
            // A cluster that the table calls free is nobody's. One whose entry is lost is known to be the
            // file's, and the last that is.
            if (!layout_.has(cluster)) break;
            const bool known = file.contiguous || tolerating([&] { next = table_.entry(cluster); });
            if (next == 0 || !claims_.claim(cluster)) break;
            const Extent place = layout_.bytes_of(cluster, 1);
            if (run.end != place.begin) {
                on_run(run);
                run = place;
            }
            run.end = place.end;
            ++count;
            if (!known) break;
            ended = !file.contiguous && next >= layout_.end_of_chain;
            cluster = next;
        }
        on_run(run);
        if (count < wanted && !(ended && file.ends_with_chain)) complete_ = false;
        return count;
    }

    template <typename OnRun>
    std::uint64_t follow_contiguous(const ClusterFile& file, std::uint64_t wanted, OnRun on_run) {
        if (!layout_.has(file.first) ||
            wanted > layout_.clusters - (file.first - ClusterLayout::kFirstCluster)) {
            complete_ = false;
            return 0;
        }
        on_run(layout_.bytes_of(file.first, wanted));
        return wanted;
    }

    // With the folders above it, which are those that are open now.
    void remember(std::uint64_t number, const NameInFolder& found) {
        if (number == kRoot || names_.size() >= kNameLimit) return;
        names_.try_emplace(number, found);
        for (auto above = open_.rbegin(); above != open_.rend() && above->number != kRoot; ++above)
            if (!names_.try_emplace(above->number, above->found).second) return;
    }

    template <typename Work>
    bool tolerating(Work&& work) {
        try {
            work();
            return true;
        } catch (const Error& e) {
            if (!is_of_the_disk(e)) throw;
            return complete_ = false;
        }
    }

    const block::Reader& part_;
    const ClusterLayout& layout_;
    ClusterFormat& format_;
    OwnerTally& tally_;
    ClusterTable table_;
    Claims claims_;
    std::deque<Folder> open_;  // the path to where it is; what grows at its end moves nothing
    std::unordered_map<std::uint64_t, NameInFolder> names_;
    bool complete_ = true;
};

}  // namespace

FileOwners find_cluster_owners(const block::Reader& part, const ClusterLayout& layout, ClusterFormat& format,
                               const ClusterFile& root, OwnerTally& tally) {
    return Search(part, layout, format, tally).run(root);
}

}  // namespace dupengine::layout

// From clusters to files of NTFS: one pass over the master file table finds whose clusters they are; a file's
// record has its name and the record of its folder. A record belongs to its file, too: small files have
// nothing else. Where the log holds something that is still to be played, names may be those of a moment ago.

#include <algorithm>

#include "layout/ntfs_files.h"
#include "layout/owner_tally.h"
#include "layout/utf16.h"

namespace dupengine::layout {
namespace {

constexpr std::size_t kNamesKept = std::size_t{1} << 16;

class Search {
  public:
    Search(const block::Reader& part, const block::ExtentSet& places)
        : volume_(read_ntfs_boot_sector(part)), files_(part, volume_), tally_(places) {}

    FileOwners run() {
        if (volume_.has_copy)
            tally_.add_structure("(copy of the boot sector)",
                                 {volume_.copy_at(), volume_.copy_at() + volume_.sector_bytes});
        const std::uint64_t piece = std::max<std::uint64_t>(1, kMiB / volume_.record_bytes);
        for (std::uint64_t first = 0; first < files_.count(); first += piece)
            take_records(first, std::min(piece, files_.count() - first));
        FileOwners owners =
            tally_.name(NtfsFile::kRoot, "file record", [this](std::uint64_t file) { return name_of(file); });
        if (!complete_) owners.reason = kNamesMayBeMissing;
        return owners;
    }

  private:
    struct Known {
        std::uint16_t sequence = 0;
        std::uint64_t folder = 0;  // a reference
        std::string name;          // empty: it has none
    };

    void take_records(std::uint64_t first, std::uint64_t count) {
        const std::uint64_t size = volume_.record_bytes;
        Bytes all;
        try {
            all = files_.read(files_.mft(), {first * size, (first + count) * size});
        } catch (const Error& e) {
            if (e.code() != Code::kSourceIo) throw;  // one by one, then
        }
        for (std::uint64_t number = first; number < first + count; ++number) {
            std::uint64_t owner = NtfsFile::kMft;
            try {
                if (all.empty()) {
                    Bytes one = files_.read(files_.mft(), {number * size, (number + 1) * size});
                    owner = take_record(number, one);
                } else {
                    owner = take_record(number, std::span(all).subspan((number - first) * size, size));
                }
            } catch (const Error& e) {
                if (e.code() != Code::kSourceIo && e.code() != Code::kIntegrity) throw;
                complete_ = false;
            }
            for (block::Extent place : files_.places(files_.mft(), {number * size, (number + 1) * size}))
                tally_.add(owner, place);
        }
    }

    /// Returns whose record it is.
    std::uint64_t take_record(std::uint64_t number, std::span<std::byte> bytes) {
        if (as_text(bytes.first(4)) != "FILE") return NtfsFile::kMft;  // never used, or given up by chkdsk
        undo_ntfs_fixups(bytes, "FILE");
        if (!ntfs_record_is_in_use(bytes)) return NtfsFile::kMft;
        const NtfsRecord record = parse_ntfs_record(bytes, volume_);
        const std::uint64_t owner = record.base == 0 ? number : ntfs_record_of(record.base);
        for (const NtfsAttribute& attribute : record.attributes) {
            // The table's own clusters are told apart record by record.
            if (owner == NtfsFile::kMft && attribute.type == NtfsType::kData && attribute.name.empty())
                continue;
            for (const NtfsRun& run : attribute.runs)
                tally_.add(owner, {run.cluster * volume_.cluster_bytes,
                                   (run.cluster + run.count) * volume_.cluster_bytes});
        }
        return owner;
    }

    // "$FILE_NAME": the folder, times and sizes, how many characters, whose rules the name follows, the name.
    static void take_name(std::span<const std::byte> value, Known& known) {
        constexpr unsigned kShortName = 2;  // made for DOS, beside the real one
        const std::size_t bytes = load_le<std::uint8_t>(value, 64) * std::size_t{2};
        if (value.size() - 66 < bytes) throw_error(Code::kIntegrity, "a name of {} bytes", bytes);
        if (load_le<std::uint8_t>(value, 65) == kShortName && !known.name.empty()) return;
        known.folder = load_le<std::uint64_t>(value, 0);
        known.name = utf8_from_utf16(value.subspan(66, bytes)).utf8;
    }

    Known look_up(std::uint64_t file) {
        const NtfsRecord record = files_.record(file);
        Known known;
        known.sequence = record.sequence;
        if (!record.in_use || record.base != 0) return known;
        // The short one may come first, so that all are looked at.
        for (const NtfsAttribute& attribute : record.attributes)
            if (attribute.type == NtfsType::kFileName && attribute.resident)
                take_name(attribute.value, known);
        if (!known.name.empty()) return known;
        // In another record of the file, when it has many.
        if (lists_left_ == 0) throw_error(Code::kIntegrity, "too many files with attribute lists");
        --lists_left_;
        const auto elsewhere = files_.stream(file, NtfsType::kFileName);
        if (elsewhere && elsewhere->resident) take_name(elsewhere->value, known);
        return known;
    }

    const Known& known(std::uint64_t file) {
        const auto found = known_.find(file);
        if (found != known_.end()) return found->second;
        if (known_.size() == kNamesKept) known_.clear();
        Known fresh;
        try {
            fresh = look_up(file);
        } catch (const Error& e) {
            if (e.code() != Code::kSourceIo && e.code() != Code::kIntegrity) throw;
            complete_ = false;
        }
        return known_.emplace(file, std::move(fresh)).first->second;
    }

    std::optional<NameInFolder> name_of(std::uint64_t file) {
        const Known one = known(file);
        if (one.name.empty()) return {};
        const std::uint64_t folder = ntfs_record_of(one.folder);
        if (known(folder).sequence != one.folder >> 48)
            return {};  // the folder is gone, its record another's
        return NameInFolder{folder, one.name};
    }

    NtfsVolume volume_;
    NtfsFiles files_;
    OwnerTally tally_;
    std::unordered_map<std::uint64_t, Known> known_;
    unsigned lists_left_ = 1000;  // each may have thousands of entries
    bool complete_ = true;
};

}  // namespace

FileOwners ntfs_file_owners(const block::Reader& part, const block::ExtentSet& places) {
    return Search(part, places).run();
}

}  // namespace dupengine::layout

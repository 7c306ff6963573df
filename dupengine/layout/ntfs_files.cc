#include "layout/ntfs_files.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kListLimit = 256 * kKiB;  // what Windows allows
constexpr unsigned kPassLimit = 16;               // a piece of $MFT found through one found through one ...

const NtfsAttribute* find(const NtfsRecord& record, NtfsType type, const std::string& name,
                          std::uint64_t first) {
    for (const NtfsAttribute& attribute : record.attributes)
        if (attribute.type == type && attribute.name == name && attribute.first == first) return &attribute;
    return nullptr;
}

void append(const NtfsAttribute& piece, NtfsStream& stream) {
    if (piece.first != stream.clusters || (piece.resident && stream.clusters != 0))
        throw_error(Code::kIntegrity, "the pieces of a stream do not fit together");
    stream.plain = stream.plain && piece.plain;
    if (piece.first == 0) {
        stream.resident = piece.resident;
        stream.value = piece.value;
        stream.data_bytes = piece.resident ? piece.value.size() : piece.data_bytes;
        stream.initialized_bytes = piece.resident ? piece.value.size() : piece.initialized_bytes;
    }
    stream.runs.insert(stream.runs.end(), piece.runs.begin(), piece.runs.end());
    stream.clusters = piece.end;
}

// More clusters than the volume has would be some of them over and over: years of reading.
bool is_plain(const NtfsStream& stream, const NtfsVolume& volume) {
    std::uint64_t covered = 0;
    for (const NtfsRun& run : stream.runs)
        covered += run.count;
    const std::uint64_t room = stream.resident ? stream.value.size() : covered * volume.cluster_bytes;
    return stream.plain && covered == stream.clusters && covered <= volume.clusters &&
           stream.data_bytes <= room && stream.initialized_bytes <= stream.data_bytes;
}

// An entry of an attribute list: the piece of a stream that begins at cluster `first` is in this record.
struct Entry {
    std::uint64_t first = 0, reference = 0;
};

std::vector<Entry> entries_of(std::span<const std::byte> list, NtfsType type, const std::string& name) {
    std::vector<Entry> entries;
    while (!list.empty()) {
        const std::size_t size = load_le<std::uint16_t>(list, 4),
                          name_bytes = load_le<std::uint8_t>(list, 6) * std::size_t{2},
                          name_at = load_le<std::uint8_t>(list, 7);
        if (size < 26 || size > list.size() || name_at + name_bytes > size)
            throw_error(Code::kIntegrity, "an entry of {} bytes in an attribute list", size);
        if (static_cast<NtfsType>(load_le<std::uint32_t>(list, 0)) == type &&
            as_text(list.subspan(name_at, name_bytes)) == name)
            entries.push_back({load_le<std::uint64_t>(list, 8), load_le<std::uint64_t>(list, 16)});
        list = list.subspan(size);
    }
    return entries;
}

}  // namespace

NtfsFiles::NtfsFiles(const block::Reader& part, const NtfsVolume& volume) : part_(part), volume_(volume) {
    // Record 0 describes the file that it is in. Until it is read, that file is one record long.
    const std::uint64_t clusters = (volume.record_bytes + volume.cluster_bytes - 1) / volume.cluster_bytes;
    mft_.resident = false;
    mft_.runs = {{0, volume.mft_cluster, clusters}};
    mft_.clusters = clusters;
    mft_.data_bytes = mft_.initialized_bytes = volume.record_bytes;
    if (clusters > volume.clusters - volume.mft_cluster)
        throw_error(Code::kIntegrity, "the master file table passes the end of the volume");
    const NtfsRecord base = record(NtfsFile::kMft);
    if (!base.in_use || base.base != 0)
        throw_error(Code::kIntegrity, "the record of the master file table is not in use");
    const NtfsAttribute* first = find(base, NtfsType::kData, {}, 0);
    if (first == nullptr || first->resident || first->runs.empty() ||
        first->runs[0].cluster != volume.mft_cluster)
        throw_error(Code::kIntegrity, "the master file table does not begin where the boot sector says");
    mft_ = {};
    append(*first, mft_);
    // The pieces of its own that an attribute list names are found through the pieces before them.
    std::optional<NtfsStream> whole;
    std::uint64_t known = 0;
    for (unsigned pass = 0; pass < kPassLimit && known != mft_.clusters; ++pass) {
        known = mft_.clusters;
        assemble(base, NtfsFile::kMft, NtfsType::kData, {}, whole);
        if (!whole) throw_error(Code::kIntegrity, "the master file table is not in its own attribute list");
        mft_ = *whole;
    }
    if (!is_plain(mft_, volume))
        throw_error(Code::kIntegrity, "the master file table has holes, or passes its end");
}

Bytes NtfsFiles::record_bytes(std::uint64_t number) const {
    if (number >= count()) throw_error(Code::kIntegrity, "file record {} of {}", number, count());
    const ByteOffset at = number * volume_.record_bytes;
    return read(mft_, {at, at + volume_.record_bytes});
}

NtfsRecord NtfsFiles::record(std::uint64_t number) const {
    Bytes bytes = record_bytes(number);
    try {
        undo_ntfs_fixups(bytes, "FILE");
        NtfsRecord record = parse_ntfs_record(bytes, volume_);
        if (record.number && *record.number != static_cast<std::uint32_t>(number))
            throw_error(Code::kIntegrity, "it calls itself {}", *record.number);
        return record;
    } catch (Error& e) {
        e.add_context(fmt::format("file record {}", number));
        throw;
    }
}

void NtfsFiles::assemble(const NtfsRecord& base, std::uint64_t number, NtfsType type, const std::string& name,
                         std::optional<NtfsStream>& into) const {
    into.reset();
    const NtfsAttribute* list = find(base, NtfsType::kAttributeList, {}, 0);
    if (list == nullptr) {
        const NtfsAttribute* only = find(base, type, name, 0);
        if (only != nullptr) append(*only, into.emplace());
        return;
    }
    NtfsStream list_stream;
    append(*list, list_stream);
    if (!list_stream.plain || list_stream.data_bytes > kListLimit)
        throw_error(Code::kIntegrity, "an attribute list of {} bytes", list_stream.data_bytes);
    for (const Entry& entry : entries_of(read(list_stream, {0, list_stream.data_bytes}), type, name)) {
        const std::uint64_t holder = ntfs_record_of(entry.reference);
        if (number == NtfsFile::kMft && holder >= count()) return;  // not yet known; see the constructor
        NtfsRecord other;
        if (holder != number) {
            other = record(holder);
            if (!other.in_use || ntfs_record_of(other.base) != number || other.base >> 48 != base.sequence ||
                entry.reference >> 48 != other.sequence)
                throw_error(Code::kIntegrity, "file record {} does not continue record {}", holder, number);
        }
        const NtfsAttribute* piece = find(holder == number ? base : other, type, name, entry.first);
        if (piece == nullptr)
            throw_error(Code::kIntegrity, "a piece of a stream is not in file record {}", holder);
        append(*piece, into ? *into : into.emplace());
    }
}

std::optional<NtfsStream> NtfsFiles::stream(std::uint64_t number, NtfsType type,
                                            const std::string& name) const {
    const NtfsRecord base = record(number);
    if (!base.in_use || base.base != 0)
        throw_error(Code::kIntegrity, "file record {} is not that of a file", number);
    std::optional<NtfsStream> result;
    assemble(base, number, type, name, result);
    return result;
}

NtfsStream NtfsFiles::plain_stream(std::uint64_t number, NtfsType type, const std::string& name) const {
    std::optional<NtfsStream> found = stream(number, type, name);
    if (!found) throw_error(Code::kIntegrity, "file record {} lacks a stream", number);
    if (!is_plain(*found, volume_))
        throw_error(Code::kIntegrity,
                    "a stream of file record {} is compressed, or has holes, or is too short", number);
    return std::move(*found);
}

Bytes NtfsFiles::read(const NtfsStream& stream, block::Extent range) const {
    if (stream.resident) {
        if (range.end > stream.value.size() || range.begin > range.end)
            throw_error(Code::kIntegrity, "{} of a stream of {} bytes", range.text(), stream.value.size());
        return {stream.value.begin() + static_cast<std::ptrdiff_t>(range.begin),
                stream.value.begin() + static_cast<std::ptrdiff_t>(range.end)};
    }
    Bytes result(range.size());
    std::uint64_t filled = 0;
    for (block::Extent place : places(stream, range)) {
        part_.read(place.begin, std::span(result).subspan(filled, place.size()));
        filled += place.size();
    }
    if (filled != result.size())
        throw_error(Code::kIntegrity, "{} of a stream is not on the disk", range.text());
    return result;
}

std::vector<block::Extent> NtfsFiles::places(const NtfsStream& stream, block::Extent range) const {
    const auto behind = [&](ByteOffset at, const NtfsRun& run) {
        return at < (run.first + run.count) * volume_.cluster_bytes;
    };
    std::vector<block::Extent> found;
    for (auto run = std::upper_bound(stream.runs.begin(), stream.runs.end(), range.begin, behind);
         run != stream.runs.end(); ++run) {
        const ByteOffset begin = run->first * volume_.cluster_bytes;
        const block::Extent common = range.clipped_to({begin, begin + run->count * volume_.cluster_bytes});
        if (common.empty()) break;
        const ByteOffset at = run->cluster * volume_.cluster_bytes + (common.begin - begin);
        found.push_back({at, at + common.size()});
    }
    return found;
}

}  // namespace dupengine::layout

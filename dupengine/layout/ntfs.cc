// NTFS: the clusters that $Bitmap calls used, the boot sector and its copy, and the sectors that are no whole
// cluster. Format: the NTFS documentation of the Linux-NTFS project.
//
// When is $Bitmap the truth? When the volume was closed: not marked dirty, its log closed, no hibernated
// Windows (ntfs_state.h). Otherwise what the log holds decides what is used, and the whole part is copied;
// whoever mounts the target finds all that he would have found on the source. ntfs-3g keeps no log and leaves
// no mark while it has a volume mounted, so that after a crash nothing shows. Where the log is empty, the
// runs of all files are therefore held against $Bitmap.

#include <algorithm>

#include "layout/ext_bitmaps.h"
#include "layout/extent_collector.h"
#include "layout/ntfs_state.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

block::ExtentSet read_bitmap(const NtfsFiles& files) {
    const NtfsVolume& volume = files.volume();
    const NtfsStream bitmap = files.plain_stream(NtfsFile::kBitmap, NtfsType::kData);
    const std::uint64_t bytes = (volume.clusters + 7) / 8;
    if (bitmap.initialized_bytes < bytes)
        throw_error(Code::kIntegrity, "a bitmap of {} bytes for {} clusters", bitmap.initialized_bytes,
                    volume.clusters);
    ExtentCollector used;
    constexpr std::uint64_t kPiece = kMiB;
    for (ByteOffset at = 0; at < bytes; at += kPiece) {
        const Bytes piece = files.read(bitmap, {at, std::min(at + kPiece, bytes)});
        const std::uint64_t base = at * 8,
                            count = std::min<std::uint64_t>(piece.size() * 8, volume.clusters - base);
        for_each_run(piece, count, [&](std::uint64_t begin, std::uint64_t end) {
            used.add({(base + begin) * volume.cluster_bytes, (base + end) * volume.cluster_bytes});
        });
    }
    return used.take();
}

block::Extent bytes_of(const NtfsVolume& volume, std::uint64_t cluster, std::uint64_t count) {
    return {cluster * volume.cluster_bytes, (cluster + count) * volume.cluster_bytes};
}

void require_used(const NtfsFiles& files, const std::vector<NtfsRun>& runs, const block::ExtentSet& used,
                  std::uint64_t number) {
    for (const NtfsRun& run : runs)
        if (!used.contains(bytes_of(files.volume(), run.cluster, run.count)))
            throw_error(Code::kIntegrity,
                        "its bitmap calls clusters free that file record {} uses: damaged, or not cleanly "
                        "unmounted",
                        number);
}

// What every volume has. That its bitmap calls it used shows that it is the bitmap.
void check_system_files(const NtfsFiles& files, const block::ExtentSet& used) {
    const NtfsVolume& volume = files.volume();
    for (std::uint64_t number :
         {NtfsFile::kMft, NtfsFile::kMirror, NtfsFile::kLog, NtfsFile::kBitmap, NtfsFile::kBoot}) {
        const NtfsStream stream = files.plain_stream(number, NtfsType::kData);
        require_used(files, stream.runs, used, number);
        if (number == NtfsFile::kMirror &&
            (stream.runs.empty() || stream.runs[0].cluster != volume.mirror_cluster))
            throw_error(Code::kIntegrity, "the mirror of its file table is not where the boot sector says");
        if (number == NtfsFile::kBoot && (stream.runs.empty() || stream.runs[0].cluster != 0))
            throw_error(Code::kIntegrity, "its boot file does not begin at the boot sector");
    }
}

// Reads the whole master file table: about 1 KiB for every file.
void check_all_files(const NtfsFiles& files, const block::ExtentSet& used) {
    const NtfsVolume& volume = files.volume();
    const std::uint64_t piece_records = std::max<std::uint64_t>(1, kMiB / volume.record_bytes);
    for (std::uint64_t first = 0; first < files.count(); first += piece_records) {
        const std::uint64_t end = std::min(first + piece_records, files.count());
        Bytes piece = files.read(files.mft(), {first * volume.record_bytes, end * volume.record_bytes});
        for (std::uint64_t number = first; number < end; ++number) {
            const auto bytes =
                std::span(piece).subspan((number - first) * volume.record_bytes, volume.record_bytes);
            if (as_text(bytes.first(4)) != "FILE") continue;  // never been used, or given up by chkdsk
            undo_ntfs_fixups(bytes, "FILE");
            // A record that was freed keeps its content, which means nothing any more.
            if (!ntfs_record_is_in_use(bytes)) continue;
            for (const NtfsAttribute& attribute : parse_ntfs_record(bytes, volume).attributes)
                require_used(files, attribute.runs, used, number);
        }
    }
}

// Only the boot sector says how large the volume is. If its copy does not confirm it, the stream of bad
// clusters has to: it is as long as the volume.
void check_size(const NtfsFiles& files) {
    const NtfsVolume& volume = files.volume();
    if (volume.has_copy) return;
    const auto bad = files.stream(NtfsFile::kBadClusters, NtfsType::kData, ntfs_name("$Bad"));
    if (!bad || bad->data_bytes != volume.clusters_end())
        throw_error(Code::kIntegrity,
                    "neither a copy of its boot sector nor its bad clusters confirm its size");
}

}  // namespace

UsedExtents ntfs_used_extents(const block::Reader& part) {
    const NtfsVolume volume = read_ntfs_boot_sector(part);
    const NtfsFiles files(part, volume);
    check_size(files);
    const NtfsLog log = check_ntfs_was_closed(files);
    UsedExtents result;
    result.block_bytes = volume.sector_bytes;  // what is no whole cluster counts too
    // Without a copy where it should be, the sectors that are no whole cluster may be fewer than they were.
    result.filesystem_bytes =
        volume.has_copy ? volume.copy_at() + volume.sector_bytes
                        : std::min(volume.clusters_end() + volume.cluster_bytes, part.geometry().size_bytes);
    if (!volume.has_copy) result.note = "no copy of its boot sector behind it (was it resized?)";
    result.used = read_bitmap(files);
    check_system_files(files, result.used);
    if (log == NtfsLog::kEmpty) check_all_files(files, result.used);
    result.used.insert({0, volume.sector_bytes});
    result.used.insert({volume.clusters_end(), result.filesystem_bytes});
    return result;
}

}  // namespace dupengine::layout

#include "engine/check.h"

#include <algorithm>
#include <ctime>
#include <mutex>

#include "engine/chunk_bytes.h"
#include "engine/compare.h"
#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using layout::TableKind;
using From = block::Reader::From;

std::string time_text(std::int64_t seconds) {
    const auto time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    if (::gmtime_r(&time, &parts) == nullptr) return "at an unknown time";
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min);
}

void look_at_structures(Check& check) {
    const layout::DiskDescription& disk = check.disk;
    if (disk.incomplete)
        check.faults.push_back(fmt::format("a copy of {} onto it, begun {}, has not finished",
                                           disk.incomplete->source, time_text(disk.incomplete->started)));
    if (!disk.damaged_table.empty()) check.faults.push_back(disk.damaged_table);
    check.faults.insert(check.faults.end(), disk.table.problems.begin(), disk.table.problems.end());
    const auto note = [&](const std::string& where, const layout::UsedExtents& used) {
        if (used.whole && !used.reason.empty())
            check.notes.push_back(fmt::format("{}: all of it is read: {}", where, used.reason));
        if (!used.note.empty()) check.notes.push_back(fmt::format("{}: {}", where, used.note));
    };
    if (disk.table.kind == TableKind::kNone) return note("the whole disk", disk.used);
    for (const auto& p : disk.partitions)
        note(fmt::format("partition {}", p.partition.number), p.used);
}

// What the disk uses: partitions, the table, and what lies in front of the first partition.
ExtentSet used_of(const layout::DiskDescription& disk) {
    const Extent all{0, disk.geometry.size_bytes};
    if (disk.table.kind == TableKind::kNone) return disk.used.used.clipped_to(all);
    ExtentSet used = layout::table_extents(disk.table, all.end).clipped_to(all);
    ByteOffset first = std::min<ByteOffset>(all.end, kBootGap);
    for (const auto& p : disk.partitions) {
        first = std::min(first, p.partition.extent.begin);
        used.insert(p.used.used.shifted(p.partition.extent.begin).clipped_to(p.partition.extent));
    }
    used.insert({0, first});
    return used;
}

PipelineOptions options_for(const block::Reader& disk, std::uint64_t bytes) {
    return choose_pipeline(disk.geometry(), disk.geometry(), bytes);
}

// Reads every chunk; `look` sees those that could be read whole.
void read_chunks(const block::Reader& disk, const ExtentSet& extents, const PipelineOptions& options,
                 BadSectors& bad, Progress& progress, std::stop_token stop,
                 const std::function<void(const Slot&)>& look) {
    ChunkWork work;
    work.read = [&](Slot& slot) { start_reads(slot, disk, From::kMedium, options.bridge_bytes); };
    work.read_failed = [](Slot& slot, const Error& e) {
        if (e.code() != Code::kSourceIo) throw;
        slot.incomplete = true;
    };
    work.look = [&](Slot& slot) {
        if (slot.incomplete)
            salvage(slot, disk, bad);
        else
            look(slot);
    };
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    for_each_chunk(extents, options.lanes, stop, work);
}

ExtentSet chunks_that_differ(const block::Reader& disk, const Report& report, BadSectors& bad,
                             Progress& progress, std::stop_token stop) {
    PipelineOptions options = options_for(disk, report.data.total_bytes());
    options.lanes.chunk_bytes = report.chunk_bytes;
    options.lanes.depth = 1;
    std::mutex mutex;
    ExtentSet different;
    read_chunks(disk, report.data, options, bad, progress, stop, [&](const Slot& slot) {
        if (sha256_of_chunk(slot) == report.digests.at(slot.chunk.number)) return;
        const std::lock_guard lock(mutex);
        for (Extent e : slot.chunk.extents)
            different.insert(e);
    });
    return different;
}

void compare_boot_structures(const block::Reader& disk, const Report& report, Check& check) {
    for (const Report::Piece& piece : report.boot) {
        const Bytes there = block::read_extent(disk, piece.extent);
        check.bytes_read += there.size();
        if (codec::sha256(there) != piece.sha256)
            check.faults.push_back(
                fmt::format("the {} at byte {} is not what was copied (partition table or "
                            "boot sector)",
                            piece.name, piece.extent.begin));
    }
}

void compare_with_report(const block::Reader& disk, const Report& report, Check& check, BadSectors& bad,
                         Progress& progress, std::stop_token stop) {
    if (report.end() > disk.geometry().size_bytes)
        return check.faults.push_back(fmt::format("it has {} bytes, and the report tells of {}",
                                                  disk.geometry().size_bytes, report.end()));
    PipelineOptions options = options_for(disk, report.zero.total_bytes());
    const ExtentSet zero = zeros_to_read(disk, report.zero, options);
    progress.begin("compare", report.data.total_bytes() + zero.total_bytes());
    ExtentSet different = chunks_that_differ(disk, report, bad, progress, stop);
    std::mutex mutex;
    read_chunks(disk, zero, options, bad, progress, stop, [&](const Slot& slot) {
        for (Extent e : slot.chunk.extents) {
            if (is_zero(slot.bytes_of(e))) continue;
            const std::lock_guard lock(mutex);
            different.insert(e);
        }
    });
    check.bytes_read += report.data.total_bytes() + zero.total_bytes();
    compare_boot_structures(disk, report, check);
    check.different = sort_by_partition(check.disk, disk, std::move(different));
    for (const Report::Piece& kept : report.kept)
        check.notes.push_back(fmt::format("not part of the copy: {}", kept.name));
}

}  // namespace

Check check_disk(const block::Reader& disk, const Report* report, Progress& progress, std::stop_token stop) {
    Check check;
    check.disk = layout::describe_disk(disk, layout::Depth::kSalvage);
    look_at_structures(check);
    BadSectors bad;
    if (report != nullptr) compare_with_report(disk, *report, check, bad, progress, stop);
    ExtentSet rest = used_of(check.disk);
    if (report != nullptr) rest.erase(report->data);  // read already
    progress.begin("read", rest.total_bytes());
    read_chunks(disk, rest, options_for(disk, rest.total_bytes()), bad, progress, stop, [](const Slot&) {});
    check.bytes_read += rest.total_bytes();
    check.unreadable = sort_by_partition(check.disk, disk, bad.extents());
    return check;
}

}  // namespace dupengine::engine

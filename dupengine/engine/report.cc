#include "engine/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "engine/pipeline.h"
#include "engine/report_lines.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kExtentsInLine = 1000;
// 32 TiB in the largest chunks; 128 MiB of digests.
constexpr std::size_t kMostChunks = std::size_t{1} << 22;
constexpr std::size_t kMostExtents = std::size_t{1} << 21, kMostPieces = 10000;

Json extent_json(Extent e) {
    return Json::array({e.begin, e.end});
}

template <typename Extents>
Json extents_json(const Extents& extents) {
    Json json = Json::array();
    for (Extent e : extents)
        json.push_back(extent_json(e));
    return json;
}

void write_set(ReportWriter& writer, const char* name, const ExtentSet& set) {
    Json line = Json::array();
    for (Extent e : set) {
        line.push_back(extent_json(e));
        if (line.size() < kExtentsInLine) continue;
        writer.add({{name, line}});
        line.clear();
    }
    if (!line.empty()) writer.add({{name, line}});
}

Extent extent_of(const nlohmann::json& json) {
    const Extent e{json.at(0).get<std::uint64_t>(), json.at(1).get<std::uint64_t>()};
    if (e.empty() || e.end > std::uint64_t{1} << 62) throw_error(Code::kIntegrity, "a range {}", e.text());
    return e;
}

codec::Sha256 sha256_in(const nlohmann::json& json) {
    const auto text = json.at("sha256").get<std::string>();
    codec::Sha256 digest{};
    if (text.size() != 2 * digest.size() || text.find_first_not_of("0123456789abcdef") != std::string::npos)
        throw_error(Code::kIntegrity, "a digest of {} characters", text.size());
    const Bytes bytes = from_hex(text);
    std::copy(bytes.begin(), bytes.end(), digest.begin());
    return digest;
}

// Ranges ascend, so that a set of them is built in no time.
void append(const nlohmann::json& ranges, ExtentSet& set) {
    for (const auto& range : ranges) {
        const Extent e = extent_of(range);
        if (!set.empty() && e.begin < std::prev(set.end())->end)
            throw_error(Code::kIntegrity, "ranges that do not ascend");
        set.insert(e);
    }
}

void take_header(const nlohmann::json& line, Report& report) {
    if (line.at("dupengine_report").get<int>() != kVersion)
        throw_error(Code::kRefused, "it is of version {}, and this program knows {}",
                    line.at("dupengine_report").get<int>(), kVersion);
    report.source = line.at("source").get<std::string>();
    report.target = line.at("target").get<std::string>();
    report.time = line.at("time").get<std::int64_t>();
    report.size_bytes = line.at("size_bytes").get<std::uint64_t>();
    report.chunk_bytes = line.at("chunk_bytes").get<std::uint64_t>();
    if (!std::has_single_bit(report.chunk_bytes) || report.chunk_bytes < 64 * kKiB ||
        report.chunk_bytes > 8 * kMiB)
        throw_error(Code::kIntegrity, "chunks of {} bytes", report.chunk_bytes);
}

// Chunks ascend, and each lies between two multiples of the chunk size: then they have the numbers that the
// dealer gives them.
void take_chunk(const nlohmann::json& line, Report& report) {
    const ByteOffset base = align_down(extent_of(line.at("chunk").at(0)).begin, report.chunk_bytes);
    if (!report.data.empty() && std::prev(report.data.end())->end > base)
        throw_error(Code::kIntegrity, "chunks that do not ascend");
    append(line.at("chunk"), report.data);
    if (std::prev(report.data.end())->end > base + report.chunk_bytes)
        throw_error(Code::kIntegrity, "a chunk that ends at {}", std::prev(report.data.end())->end);
    report.digests.push_back(sha256_in(line));
}

void take_line(const nlohmann::json& line, Report& report) {
    if (line.contains("chunk")) return take_chunk(line, report);
    for (const auto& [name, set] : {std::pair{"zero", &report.zero}, std::pair{"bad", &report.bad}})
        if (line.contains(name)) append(line.at(name), *set);
    if (line.contains("boot"))
        report.boot.push_back(
            {line.at("boot").get<std::string>(), extent_of(line.at("extent")), sha256_in(line)});
    if (line.contains("kept"))
        report.kept.push_back({line.at("kept").get<std::string>(), extent_of(line.at("extent")), {}});
}

void check_limits(const Report& report) {
    if (report.digests.size() > kMostChunks || report.data.count() > kMostExtents ||
        report.zero.count() > kMostExtents || report.bad.count() > kMostExtents ||
        report.boot.size() > kMostPieces || report.kept.size() > kMostPieces)
        throw_error(Code::kIntegrity, "more ranges than any copy has");
    for (const Report::Piece& piece : report.boot)
        if (piece.extent.size() > 64 * kMiB)
            throw_error(Code::kIntegrity, "a boot structure of {} bytes", piece.extent.size());
}

}  // namespace

ByteOffset Report::end() const {
    ByteOffset end = 0;
    for (const ExtentSet* set : {&data, &zero})
        if (!set->empty()) end = std::max(end, std::prev(set->end())->end);
    for (const Piece& piece : boot)
        end = std::max(end, piece.extent.end);
    return end;
}

codec::Sha256 sha256_of_chunk(const Slot& slot) {
    codec::Sha256Stream stream;
    for (Extent e : slot.chunk.extents)
        stream.update(slot.bytes_of(e));
    return stream.finish();
}

void ReportDigests::take(const Slot& slot) {
    const codec::Sha256 digest = sha256_of_chunk(slot);
    const std::lock_guard lock(mutex_);
    if (slot.chunk.number >= digests_.size()) {
        digests_.resize(slot.chunk.number + 1);
        taken_.resize(slot.chunk.number + 1);
    }
    digests_[slot.chunk.number] = digest;
    taken_[slot.chunk.number] = true;
}

std::vector<codec::Sha256> ReportDigests::finish(const ExtentSet& data, std::uint64_t chunk_bytes,
                                                 const block::Reader& target) {
    ChunkDealer dealer(data, chunk_bytes);
    const std::size_t count = count_chunks(data, chunk_bytes);
    digests_.resize(count);
    taken_.resize(count);
    while (const auto chunk = dealer.next()) {
        if (taken_[chunk->number]) continue;
        codec::Sha256Stream stream;
        for (Extent e : chunk->extents) {
            Bytes bytes(e.size());
            target.read_from_medium(e.begin, bytes);
            stream.update(bytes);
        }
        digests_[chunk->number] = stream.finish();
    }
    return std::move(digests_);
}

void refuse_what_no_report_holds(const CopyPlan& plan) {
    const std::uint64_t chunk_bytes = plan.journal
                                          ? plan.journal->chunk_bytes
                                          : choose_pipeline(plan.source.geometry, plan.target.geometry,
                                                            plan.data.total_bytes(), plan.options.tuning)
                                                .lanes.chunk_bytes;
    const std::size_t chunks = count_chunks(plan.data, chunk_bytes);
    if (chunks > kMostChunks)
        throw_error(
            Code::kRefused,
            "{}: {} chunks of {} are more than the {} that a report can tell of; copy {}without --report",
            plan.source.name, chunks, format_size(chunk_bytes), kMostChunks,
            chunk_bytes < 8 * kMiB ? "with --chunk-size=8M, or " : "");
    if (std::max(plan.data.count(), plan.zero_used.count()) > kMostExtents || plan.kept.size() > kMostPieces)
        throw_error(Code::kRefused, "{}: {} ranges are more than a report can tell of; copy without --report",
                    plan.source.name, std::max(plan.data.count(), plan.zero_used.count()));
}

Report make_report(const CopyPlan& plan, const CopyReport& copied, std::vector<codec::Sha256> digests,
                   std::int64_t now) {
    Report report;
    report.source = copied.source;
    report.target = copied.target;
    report.time = now;
    report.size_bytes = plan.target.geometry.size_bytes;
    report.chunk_bytes = copied.chunk_bytes;
    report.data = plan.data;
    report.digests = std::move(digests);
    report.zero = plan.zero_used;
    for (const PartitionPlaces& places : copied.bad_sectors)
        report.bad.insert(places.extents);
    for (const BootStage& stage : plan.boot)
        for (const auto& piece : stage.pieces)
            report.boot.push_back({stage.name,
                                   {piece.offset, piece.offset + piece.content.size()},
                                   codec::sha256(piece.content)});
    for (const Kept& kept : plan.kept)
        report.kept.push_back({kept.name, kept.extent, {}});
    return report;
}

ReportFile::ReportFile(std::string path)
    : path_(std::move(path)), fd_(open_path(path_, O_WRONLY | O_CREAT | O_EXCL, Code::kRefused)) {}

ReportFile::~ReportFile() {
    if (!written_) ::unlink(path_.c_str());
}

void ReportFile::write(const Report& report) {
    check_limits(report);
    ReportWriter writer(fd_.get(), path_);
    writer.add({{"dupengine_report", kVersion},
                {"source", report.source},
                {"target", report.target},
                {"time", report.time},
                {"size_bytes", report.size_bytes},
                {"chunk_bytes", report.chunk_bytes}});
    ChunkDealer dealer(report.data, report.chunk_bytes);
    while (const auto chunk = dealer.next())
        writer.add(
            {{"chunk", extents_json(chunk->extents)}, {"sha256", to_hex(report.digests.at(chunk->number))}});
    write_set(writer, "zero", report.zero);
    write_set(writer, "bad", report.bad);
    for (const Report::Piece& piece : report.boot)
        writer.add(
            {{"boot", piece.name}, {"extent", extent_json(piece.extent)}, {"sha256", to_hex(piece.sha256)}});
    for (const Report::Piece& piece : report.kept)
        writer.add({{"kept", piece.name}, {"extent", extent_json(piece.extent)}});
    writer.finish();
    if (::fsync(fd_.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: fsync", path_);
    fd_.close(Code::kTargetIo, path_);
    written_ = true;
}

Report read_report(const std::string& path) {
    try {
        Report report;
        bool is_first = true;
        ReportLines(path).for_each([&](const nlohmann::json& line) {
            if (is_first)
                take_header(line, report);
            else
                take_line(line, report);
            is_first = false;
            check_limits(report);
        });
        if (is_first || report.digests.size() != count_chunks(report.data, report.chunk_bytes))
            throw_error(Code::kIntegrity, "it does not tell of all its chunks");
        return report;
    } catch (Error& e) {
        e.add_context(fmt::format("the report {}", path));
        throw;
    }
}

}  // namespace dupengine::engine

#include "image/chunk_records.h"

#include <algorithm>

namespace dupengine::image {
namespace {

constexpr std::uint64_t kBlockRecords = 4096;

block::ExtentSet chunks_of(const block::ExtentSet& data, std::uint32_t chunk_bytes) {
    block::ExtentSet chunks;
    for (const block::Extent e : data)
        chunks.insert({e.begin / chunk_bytes, (e.end + chunk_bytes - 1) / chunk_bytes});
    return chunks;
}

}  // namespace

ChunkRecords::ChunkRecords(const block::ExtentSet& data, std::uint32_t chunk_bytes)
    : chunks_(chunks_of(data, chunk_bytes)), file_("the digests of the source") {
    file_.need(chunks_.total_bytes() * sizeof(ChunkRecord));
    for (const block::Extent e : chunks_)
        file_.extend_to(e.end * sizeof(ChunkRecord));
}

void ChunkRecords::put(std::uint64_t chunk, const ChunkRecord& record) const {
    file_.write(chunk * sizeof record, std::as_bytes(std::span(&record, 1)));
}

ChunkRecord* ChunkRecords::in_block(std::uint64_t chunk) {
    const bool is_there = chunk >= block_begin_ && chunk - block_begin_ < block_.size();
    return is_there ? &block_[chunk - block_begin_] : nullptr;
}

ChunkRecord ChunkRecords::get(std::uint64_t chunk) {
    if (const ChunkRecord* there = in_block(chunk)) return *there;
    ChunkRecord record;
    file_.read(chunk * sizeof record, std::as_writable_bytes(std::span(&record, 1)));
    return record;
}

void ChunkRecords::replace(std::uint64_t chunk, const ChunkRecord& record) {
    if (ChunkRecord* there = in_block(chunk))
        *there = record;
    else
        put(chunk, record);
}

void ChunkRecords::for_each(const std::function<void(std::uint64_t chunk, ChunkRecord& record)>& visit) {
    Bytes before;
    for (const block::Extent e : chunks_) {
        for (std::uint64_t begin = e.begin; begin < e.end; begin += kBlockRecords) {
            block_begin_ = begin;
            block_.resize(std::min(kBlockRecords, e.end - begin));
            const auto bytes = std::as_writable_bytes(std::span(block_));
            file_.read(begin * sizeof(ChunkRecord), bytes);
            before.assign(bytes.begin(), bytes.end());
            for (std::uint64_t i = 0; i < block_.size(); ++i)
                visit(begin + i, block_[i]);
            if (!std::ranges::equal(before, bytes)) file_.write(begin * sizeof(ChunkRecord), bytes);
        }
    }
    block_.clear();
}

}  // namespace dupengine::image

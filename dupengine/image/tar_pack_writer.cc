#include "image/tar_pack_writer.h"

#include <algorithm>
#include <atomic>

#include "image/stored_form.h"

namespace dupengine::image {
namespace {

constexpr std::size_t kBatchChunks = 128;
// Chunks that are neighbours on the disk are read at once.
constexpr std::size_t kRunChunks = 16;

[[noreturn]] void throw_changed(std::uint64_t chunk) {
    throw_error(Code::kIntegrity,
                "the source changed while it was captured, at byte {}; there is no image of it",
                chunk * kChunkBytes);
}

}  // namespace

struct TarPackWriter::Batch {
    struct Item {
        std::uint64_t chunk = 0;
        ChunkRecord record;
        Bytes stored;
    };
    std::vector<Item> items;
    AlignedBuffer memory{kBatchChunks * kChunkBytes};
};

TarPackWriter::TarPackWriter(const ReadChunks& read, TarWriter& tar, std::span<const PackId> packs)
    : read_(read),
      tar_(tar),
      packs_(packs),
      filling_(std::make_unique<Batch>()),
      under_way_(std::make_unique<Batch>()) {}

TarPackWriter::~TarPackWriter() {
    if (work_.valid()) work_.wait();
}

void TarPackWriter::add(std::uint64_t chunk, const ChunkRecord& record) {
    if (filling_->items.size() == kBatchChunks) begin_batch();
    filling_->items.push_back({chunk, record, {}});
}

void TarPackWriter::read_run(Batch& batch, std::size_t first, std::size_t count) const {
    const auto bytes = batch.memory.all().subspan(first * kChunkBytes, count * kChunkBytes);
    read_(batch.items[first].chunk, bytes);
    for (std::size_t i = 0; i < count; ++i) {
        Batch::Item& item = batch.items[first + i];
        const auto chunk = bytes.subspan(i * kChunkBytes, kChunkBytes);
        if (codec::sha256(chunk) != item.record.sha256) throw_changed(item.chunk);
        const StoredForm stored = stored_form(chunk);
        if (stored.bytes.size() != item.record.bytes || stored.compressed != item.record.compressed)
            throw_error(Code::kInternal, "the same bytes were compressed to others");
        item.stored.assign(stored.bytes.begin(), stored.bytes.end());
    }
}

void TarPackWriter::read_all(Batch& batch) const {
    std::atomic<std::size_t> next{0};
    const auto read_runs = [&] {
        while (true) {
            const std::size_t begin = next.fetch_add(kRunChunks);
            const std::size_t end = std::min(begin + kRunChunks, batch.items.size());
            for (std::size_t first = begin, last = begin; first < end; first = last) {
                do
                    ++last;
                while (last < end && batch.items[last].chunk == batch.items[last - 1].chunk + 1);
                read_run(batch, first, last - first);
            }
            if (begin >= end) return;
        }
    };
    std::future<void> other = std::async(std::launch::async, read_runs);
    read_runs();
    other.get();
}

// The batch that was filled is worked at from here on, and the one before goes into the tar.
void TarPackWriter::begin_batch() {
    if (work_.valid()) work_.get();
    std::swap(filling_, under_way_);
    work_ = std::async(std::launch::async, [this] { read_all(*under_way_); });
    put_into_packs(*filling_);
    filling_->items.clear();
}

void TarPackWriter::put_into_packs(const Batch& batch) {
    for (const Batch::Item& item : batch.items) {
        if (builder_.empty()) builder_.leave_gap(item.record.offset - PackBuilder::kBegin);
        const PackEntry entry = builder_.add(item.record.sha256, item.stored, item.record.compressed);
        if (entry.offset != item.record.offset)
            throw_error(Code::kInternal, "a chunk comes to another place than was said");
        if (builder_.is_full()) end_pack();
    }
}

void TarPackWriter::end_pack() {
    const PackBuilder::Finished pack = builder_.finish();
    if (written_ == packs_.size() || pack.id != packs_[written_])
        throw_error(Code::kInternal, "a pack has become another one than was said");
    ++written_;
    tar_.add(pack_file(pack.id), pack.content);
}

std::size_t TarPackWriter::finish() {
    begin_batch();  // the last one
    begin_batch();  // none, so that the last one goes into the tar
    work_.get();
    if (!builder_.empty()) end_pack();
    return written_;
}

}  // namespace dupengine::image

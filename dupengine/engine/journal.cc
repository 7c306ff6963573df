#include "engine/journal.h"

#include <algorithm>

namespace dupengine::engine {

Journal::Journal(block::Target& target, const layout::IncompleteMark::Journal& where,
                 const JournalContent& known, std::chrono::milliseconds pace)
    : target_(target),
      where_(where),
      pace_(pace),
      next_record_(Clock::now() + pace),
      durable_(known.chunks.was_equal),
      versions_(known.versions) {}

void Journal::chunk_written(std::size_t chunk, const std::vector<codec::Xxh128>& digests) {
    {
        const std::lock_guard lock(mutex_);
        written_.push_back(chunk);
        if (recording_ || Clock::now() < next_record_) return;
        recording_ = true;
    }
    record(digests);
    const std::lock_guard lock(mutex_);
    recording_ = false;
}

void Journal::record(const std::vector<codec::Xxh128>& digests) {
    constexpr int kShare = 100;  // of the time, at most one part in so many
    std::vector<std::size_t> durable;
    {
        const std::lock_guard lock(mutex_);
        durable = std::exchange(written_, {});
    }
    const Clock::time_point begin = Clock::now();
    target_.flush();
    // Only what had been written before the flush began.
    write_blocks(std::move(durable), digests);
    const Clock::time_point end = Clock::now();
    const std::lock_guard lock(mutex_);
    last_flush_ = end - begin;
    next_record_ = end;
    if (pace_.count() != 0) next_record_ += std::max<Clock::duration>(pace_, last_flush_ * kShare);
}

void Journal::record_before_stopping(const std::vector<codec::Xxh128>& digests) {
    constexpr std::chrono::milliseconds kQuick{500};
    if (last_flush_ < kQuick) record(digests);
}

void Journal::record_flushed(const std::vector<codec::Xxh128>& digests) {
    write_blocks(std::exchange(written_, {}), digests);
}

void Journal::write_blocks(std::vector<std::size_t> durable, const std::vector<codec::Xxh128>& digests) {
    std::sort(durable.begin(), durable.end());
    for (const std::size_t chunk : durable)
        durable_.at(chunk) = 1;
    for (auto at = durable.begin(); at != durable.end();) {
        JournalBlock block;
        block.number = static_cast<std::uint32_t>(*at / kChunksOfABlock);
        block.version = versions_[block.number] + 1;
        const std::size_t first = block.number * kChunksOfABlock;
        const std::size_t end = std::min(first + kChunksOfABlock, durable_.size());
        for (std::size_t chunk = first; chunk < end; ++chunk)
            if (durable_[chunk] != 0) block.digests[chunk - first] = digests.at(chunk);
        target_.write(where_.place.begin + journal_block_offset(block.number, block.version),
                      encode_journal_block(block, where_.id));
        versions_[block.number] = block.version;
        at = std::find_if(at, durable.end(), [&](std::size_t chunk) { return chunk >= end; });
    }
}

std::uint64_t Journal::erase(block::Device::Zeroing how, const std::stop_token& stop) {
    target_.zero(where_.place, how);
    target_.flush();
    constexpr std::uint64_t kPiece = kMiB;
    for (ByteOffset at = where_.place.begin; at < where_.place.end; at += kPiece) {
        if (stop.stop_requested())
            throw_error(Code::kInterrupted,
                        "stopped on request; the target is marked unfinished, run the same command again");
        Bytes piece(std::min(kPiece, where_.place.end - at));
        target_.read_from_medium(at, piece);
        if (!is_zero(piece))
            throw_error(Code::kIntegrity, "{}: the place of the copy's journal at {} does not read as zeros",
                        target_.name(), at);
    }
    return where_.place.size();
}

}  // namespace dupengine::engine

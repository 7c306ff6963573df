// Journals of unfinished copies as they may lie on hostile disks. An input is a byte of flags, a byte that
// says how many chunks there are, then what stands in the journal's place.
//   flags 1: each block gets the right checksum, so that what lies behind it is reached
//         2: and the right magic, format version and id

#include "engine/journal.h"

#include "tests/fuzz/fuzz_disk.h"

namespace dupengine::fuzz {
namespace {

using engine::kJournalBlockBytes;

constexpr unsigned kSealed = 1, kOurs = 2;

codec::Sha256 our_id() {
    return codec::sha256(as_bytes("ours"));
}

void mend(std::span<std::byte> block, unsigned flags) {
    if ((flags & kOurs) != 0) {
        const Bytes good = engine::encode_journal_block({}, our_id());
        for (const auto& [begin, end] : {std::pair(0, 16), std::pair(48, 52), std::pair(64, 96)})
            std::copy(good.begin() + begin, good.begin() + end, block.begin() + begin);
    }
    if ((flags & kSealed) == 0) return;
    const codec::Sha256 seal = codec::sha256(block.subspan(48));
    std::copy(seal.begin(), seal.end(), block.begin() + 16);
}

void check_block(std::span<const std::byte> bytes) {
    const auto block = engine::decode_journal_block(bytes, our_id());
    if (!block) return;
    const Bytes again = engine::encode_journal_block(*block, our_id());
    const auto same = engine::decode_journal_block(again, our_id());
    require(same && same->number == block->number && same->version == block->version &&
                same->digests == block->digests,
            "what was read can be written");
    require(!engine::decode_journal_block(bytes, codec::sha256(as_bytes("theirs"))),
            "a block is of one journal only");
}

void run(std::span<const std::byte> input) {
    const unsigned flags = load_le<std::uint8_t>(input, 0);
    const std::size_t chunks = load_le<std::uint8_t>(input, 1) * std::size_t{5} + 1;
    layout::IncompleteMark::Journal where;
    where.place = {kJournalBlockBytes, kJournalBlockBytes + engine::journal_bytes(chunks)};
    where.id = our_id();
    FuzzDisk disk(Bytes(where.place.end), 512, true);
    place(disk.content(), where.place.begin, input.subspan(2));
    for (ByteOffset at = where.place.begin; at < where.place.end; at += kJournalBlockBytes) {
        const auto block = std::span(disk.content()).subspan(at, kJournalBlockBytes);
        mend(block, flags);
        check_block(block);
    }
    const engine::JournalContent content = engine::read_journal(disk, where, chunks);
    require(content.chunks.was_equal.size() == chunks && content.chunks.digests.size() == chunks,
            "as many chunks as the copy has");
    require(content.versions.size() == engine::journal_bytes(chunks) / (2 * kJournalBlockBytes),
            "as many blocks as stand there");
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 1) dupengine::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}

// The journal as bytes.

#include <algorithm>

#include "engine/journal.h"

namespace dupengine::engine {
namespace {

constexpr std::string_view kMagic = "DUPENGINE-RESUME";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kSealAt = 16, kSealedAt = 48, kFormatAt = 48, kNumberAt = 52, kVersionAt = 56,
                      kIdAt = 64, kBitsAt = 96, kDigestsAt = 128, kDigestBytes = 16, kBitsBytes = 32;
static_assert(kDigestsAt + kChunksOfABlock * kDigestBytes == kJournalBlockBytes);
static_assert(kChunksOfABlock <= kBitsBytes * 8);

template <typename Digest>
bool equals(std::span<const std::byte> bytes, std::size_t at, const Digest& digest) {
    return std::equal(digest.begin(), digest.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

bool bit(std::span<const std::byte> bytes, std::size_t number) {
    return (std::to_integer<unsigned>(bytes[kBitsAt + number / 8]) >> (number % 8) & 1u) != 0;
}

}  // namespace

Bytes encode_journal_block(const JournalBlock& block, const codec::Sha256& id) {
    Bytes bytes(kJournalBlockBytes);
    std::copy_n(as_bytes(kMagic).begin(), kMagic.size(), bytes.begin());
    store_le<std::uint32_t>(bytes, kFormatAt, kVersion);
    store_le<std::uint32_t>(bytes, kNumberAt, block.number);
    store_le<std::uint64_t>(bytes, kVersionAt, block.version);
    std::copy(id.begin(), id.end(), bytes.begin() + kIdAt);
    for (std::size_t i = 0; i < kChunksOfABlock; ++i) {
        if (!block.digests[i]) continue;
        bytes[kBitsAt + i / 8] |= std::byte{1} << (i % 8);
        store_le<std::uint64_t>(bytes, kDigestsAt + i * kDigestBytes, block.digests[i]->low);
        store_le<std::uint64_t>(bytes, kDigestsAt + i * kDigestBytes + 8, block.digests[i]->high);
    }
    const codec::Sha256 seal = codec::sha256(std::span(bytes).subspan(kSealedAt));
    std::copy(seal.begin(), seal.end(), bytes.begin() + kSealAt);
    return bytes;
}

std::optional<JournalBlock> decode_journal_block(std::span<const std::byte> bytes, const codec::Sha256& id) {
    // The id before the digest: most of what is found in free space is something else altogether.
    if (bytes.size() != kJournalBlockBytes || as_text(bytes).substr(0, kMagic.size()) != kMagic ||
        load_le<std::uint32_t>(bytes, kFormatAt) != kVersion || !equals(bytes, kIdAt, id) ||
        !equals(bytes, kSealAt, codec::sha256(bytes.subspan(kSealedAt))))
        return {};
    JournalBlock block;
    block.number = load_le<std::uint32_t>(bytes, kNumberAt);
    block.version = load_le<std::uint64_t>(bytes, kVersionAt);
    for (std::size_t i = 0; i < kChunksOfABlock; ++i)
        if (bit(bytes, i))
            block.digests[i] = {load_le<std::uint64_t>(bytes, kDigestsAt + i * kDigestBytes),
                                load_le<std::uint64_t>(bytes, kDigestsAt + i * kDigestBytes + 8)};
    return block;
}

std::uint64_t journal_bytes(std::size_t chunks) {
    return (chunks + kChunksOfABlock - 1) / kChunksOfABlock * 2 * kJournalBlockBytes;
}

ByteOffset journal_block_offset(std::size_t block, std::uint64_t version) {
    return (2 * block + version % 2) * kJournalBlockBytes;
}

namespace {

// Takes over what a block says, unless what was found there is newer.
void add_block(JournalContent& content, const JournalBlock& block) {
    if (block.version <= content.versions[block.number]) return;
    content.versions[block.number] = block.version;
    const std::size_t first = block.number * kChunksOfABlock;
    const std::size_t count = std::min(kChunksOfABlock, content.chunks.digests.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
        content.chunks.was_equal[first + i] = block.digests[i].has_value();
        content.chunks.digests[first + i] = block.digests[i].value_or(codec::Xxh128{});
    }
}

}  // namespace

JournalContent no_journal(std::size_t chunks) {
    JournalContent content;
    content.chunks.digests.resize(chunks);
    content.chunks.was_equal.resize(chunks);
    content.versions.resize((chunks + kChunksOfABlock - 1) / kChunksOfABlock);
    return content;
}

JournalContent read_journal(const block::Reader& disk, const layout::IncompleteMark::Journal& where,
                            std::size_t chunks) {
    if (where.place.size() != journal_bytes(chunks))
        throw_error(Code::kInternal, "a journal of {} chunks in {}", chunks, where.place.text());
    JournalContent content = no_journal(chunks);
    Bytes both(2 * kJournalBlockBytes);
    for (std::size_t number = 0; number < content.versions.size(); ++number) {
        disk.read(where.place.begin + journal_block_offset(number, 0), both);
        for (const std::size_t at : {std::size_t{0}, kJournalBlockBytes}) {
            const auto block =
                decode_journal_block(std::span(both).subspan(at, kJournalBlockBytes), where.id);
            // One that was written for another place does not belong here.
            if (block && block->number == number &&
                journal_block_offset(number, block->version) == journal_block_offset(number, 0) + at)
                add_block(content, *block);
        }
    }
    return content;
}

}  // namespace dupengine::engine

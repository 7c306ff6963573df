#include "image/pack.h"

#include <algorithm>

namespace dupengine::image {
namespace {

// A pack: magic "DUPPACK1", the stored chunks, the entries (digest, u32 offset, u32 bytes with the highest
// bit set if compressed), then SHA-256 of the entries, u32 count, u32 zero, magic "DUPPACKE".
constexpr std::string_view kMagic = "DUPPACK1", kEndMagic = "DUPPACKE";
static_assert(PackBuilder::kBegin == kMagic.size());
constexpr std::size_t kEntryBytes = 40, kTailBytes = 48;
constexpr std::uint32_t kCompressed = 0x80000000u;

PackId id_of(const codec::Sha256& digest) {
    PackId id;
    std::copy_n(digest.begin(), id.size(), id.begin());
    return id;
}

Bytes encode_entries(std::span<const PackEntry> entries) {
    Bytes index(entries.size() * kEntryBytes);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto at = std::span(index).subspan(i * kEntryBytes, kEntryBytes);
        std::ranges::copy(entries[i].sha256, at.begin());
        store_le<std::uint32_t>(at, 32, entries[i].offset);
        store_le<std::uint32_t>(at, 36, entries[i].bytes | (entries[i].compressed ? kCompressed : 0));
    }
    return index;
}

}  // namespace

PackId pack_id_of(std::span<const PackEntry> entries) {
    return id_of(codec::sha256(encode_entries(entries)));
}

void PackBuilder::leave_gap(std::uint32_t bytes) {
    bytes_.reserve(kFullBytes + kMiB);
    bytes_.assign(as_bytes(kMagic).begin(), as_bytes(kMagic).end());
    bytes_.resize(kBegin + bytes);
    gap_bytes_ = bytes;
}

PackEntry PackBuilder::add(const codec::Sha256& sha256, std::span<const std::byte> stored, bool compressed) {
    if (bytes_.empty()) leave_gap(0);
    const PackEntry entry{sha256, static_cast<std::uint32_t>(bytes_.size()),
                          static_cast<std::uint32_t>(stored.size()), compressed};
    bytes_.insert(bytes_.end(), stored.begin(), stored.end());
    entries_.push_back(entry);
    return entry;
}

PackBuilder::Finished PackBuilder::finish() {
    const Bytes index = encode_entries(entries_);
    const codec::Sha256 digest = codec::sha256(index);
    Bytes tail(kTailBytes);
    std::ranges::copy(digest, tail.begin());
    store_le<std::uint32_t>(tail, 32, static_cast<std::uint32_t>(entries_.size()));
    std::ranges::copy(as_bytes(kEndMagic), tail.begin() + 40);

    Finished pack{id_of(digest), std::move(bytes_), std::move(entries_)};
    pack.content.insert(pack.content.end(), index.begin(), index.end());
    pack.content.insert(pack.content.end(), tail.begin(), tail.end());
    bytes_ = {};
    gap_bytes_ = 0;
    entries_ = {};
    return pack;
}

PackIndex::PackIndex(const Files& files, const PackId& pack) : pack_(pack) {
    const std::string file = pack_file(pack);
    const auto size = files.size_of(file);
    if (!size) throw_error(Code::kIntegrity, "{}: {} is missing", files.name(), file);
    if (*size < kMagic.size() + kTailBytes) refuse(files);
    Bytes tail(kTailBytes);
    files.read(file, *size - kTailBytes, tail);
    count_ = load_le<std::uint32_t>(tail, 32);
    std::copy_n(tail.begin(), digest_.size(), digest_.begin());
    const std::uint64_t index_bytes = std::uint64_t{count_} * kEntryBytes;
    if (as_text(tail).substr(40) != kEndMagic || load_le<std::uint32_t>(tail, 36) != 0 ||
        count_ > PackBuilder::kFullEntries || index_bytes > *size - kMagic.size() - kTailBytes ||
        id_of(digest_) != pack)
        refuse(files);
    begin_ = *size - kTailBytes - index_bytes;
}

void PackIndex::refuse(const Files& files) const {
    throw_error(Code::kIntegrity, "{}: {} is damaged", files.name(), pack_file(pack_));
}

PackEntry PackIndex::decode(const Files& files, std::span<const std::byte> at) const {
    PackEntry entry;
    std::copy_n(at.begin(), entry.sha256.size(), entry.sha256.begin());
    const auto bytes = load_le<std::uint32_t>(at, 36);
    entry.offset = load_le<std::uint32_t>(at, 32);
    entry.bytes = bytes & ~kCompressed;
    entry.compressed = (bytes & kCompressed) != 0;
    if (std::uint64_t{entry.offset} + entry.bytes > begin_) refuse(files);
    return entry;
}

std::vector<PackEntry> PackIndex::read(const Files& files) const {
    Bytes index(std::size_t{count_} * kEntryBytes);
    files.read(pack_file(pack_), begin_, index);
    if (codec::sha256(index) != digest_) refuse(files);
    std::vector<PackEntry> entries;
    entries.reserve(count_);
    for (std::size_t at = 0; at < index.size(); at += kEntryBytes)
        entries.push_back(decode(files, std::span(index).subspan(at, kEntryBytes)));
    return entries;
}

PackEntry PackIndex::entry(const Files& files, std::uint32_t number) const {
    std::array<std::byte, kEntryBytes> bytes{};
    files.read(pack_file(pack_), begin_ + std::uint64_t{number} * kEntryBytes, bytes);
    return decode(files, bytes);
}

}  // namespace dupengine::image

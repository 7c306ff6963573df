// How a disk is opened (dupengine-formats(5), "wire").

#include <algorithm>

#include "wire/fields.h"
#include "wire/message.h"

namespace dupengine::wire {

namespace {

constexpr std::uint8_t kIsBlockDevice = 1, kIsRotational = 2, kIsBusy = 4, kCouldChangeUnseen = 8,
                       kIsHot = 16, kHasMemory = 32, kIsRow = 64;
constexpr std::size_t kMostMachine = 32 * kKiB;

bool is_sector_size(std::uint32_t bytes) {
    return bytes >= 512 && bytes <= 64 * kKiB && std::has_single_bit(bytes);
}

void put_row(const std::vector<block::RowPlace>& row, FieldWriter& fields) {
    fields.number8(static_cast<std::uint8_t>(row.size()));
    for (const block::RowPlace& disk : row) {
        fields.number64(disk.begin);
        fields.number64(disk.geometry.size_bytes);
        fields.number32(disk.geometry.logical_sector_bytes);
        fields.number32(disk.geometry.physical_sector_bytes);
        fields.number8(static_cast<std::uint8_t>((disk.geometry.is_block_device ? kIsBlockDevice : 0) |
                                                 (disk.geometry.rotational ? kIsRotational : 0)));
        fields.text(disk.name);
    }
}

std::vector<block::RowPlace> take_row(FieldReader& fields, std::uint64_t size_bytes) {
    std::vector<block::RowPlace> row(fields.number8());
    if (row.empty() || row.size() > block::kMostRowDisks) throw_not_honest("a row of disks that cannot be");
    ByteOffset end = 0;
    for (block::RowPlace& disk : row) {
        disk.begin = fields.number64();
        disk.geometry.size_bytes = fields.number64();
        disk.geometry.logical_sector_bytes = fields.number32();
        disk.geometry.physical_sector_bytes = fields.number32();
        const std::uint8_t flags = fields.number8();
        disk.geometry.is_block_device = (flags & kIsBlockDevice) != 0;
        disk.geometry.rotational = (flags & kIsRotational) != 0;
        disk.name = tame(fields.text(kMostText));
        if (disk.begin % block::kRowAlignment != 0 || disk.begin < end || disk.begin >= size_bytes ||
            disk.geometry.size_bytes == 0 || disk.geometry.size_bytes > size_bytes - disk.begin ||
            !is_sector_size(disk.geometry.logical_sector_bytes) ||
            !is_sector_size(disk.geometry.physical_sector_bytes) || flags > (kIsBlockDevice | kIsRotational))
            throw_not_honest("a row of disks that cannot be");
        end = disk.extent().end;
    }
    return row;
}

}  // namespace

Bytes encode(const Open& open) {
    FieldWriter fields;
    fields.text(open.source);
    fields.raw(open.transfer);
    fields.raw(open.resume);
    return fields.take();
}

Open decode_open(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Open open;
    open.source = tame(fields.text(kMostText));
    open.transfer = fields.digest();
    open.resume = fields.digest();
    fields.end();
    return open;
}

codec::KeyedDigest::Key digest_key(const Token& transfer) {
    const codec::Sha256 derived = codec::hmac_sha256(transfer, as_bytes("dupengine digests"));
    codec::KeyedDigest::Key key{};
    std::copy_n(derived.begin(), key.size(), key.begin());
    return key;
}

Bytes encode(const Opened& opened) {
    const block::Geometry& geometry = opened.geometry;
    FieldWriter fields;
    fields.number64(geometry.size_bytes);
    fields.number32(geometry.logical_sector_bytes);
    fields.number32(geometry.physical_sector_bytes);
    fields.number8(static_cast<std::uint8_t>(
        (geometry.is_block_device ? kIsBlockDevice : 0) | (geometry.rotational ? kIsRotational : 0) |
        (opened.is_busy ? kIsBusy : 0) | (opened.could_change_unseen ? kCouldChangeUnseen : 0) |
        (opened.is_hot ? kIsHot : 0) | (opened.memory ? kHasMemory : 0) | (opened.row.empty() ? 0 : kIsRow)));
    fields.text(opened.name);
    fields.raw(opened.state);
    fields.raw(opened.resume);
    if (opened.memory) {
        fields.text(opened.memory->machine);
        fields.number64(opened.memory->span_pages);
        fields.number64(opened.memory->ram_pages);
        fields.raw(opened.memory->key);
        fields.number8(opened.memory->is_question ? 1 : 0);
    }
    if (!opened.row.empty()) put_row(opened.row, fields);
    return fields.take();
}

Opened decode_opened(std::span<const std::byte> payload) {
    FieldReader fields(payload);
    Opened opened;
    block::Geometry& geometry = opened.geometry;
    geometry.size_bytes = fields.number64();
    geometry.logical_sector_bytes = fields.number32();
    geometry.physical_sector_bytes = fields.number32();
    const std::uint8_t flags = fields.number8();
    geometry.is_block_device = (flags & kIsBlockDevice) != 0;
    geometry.rotational = (flags & kIsRotational) != 0;
    opened.is_busy = (flags & kIsBusy) != 0;
    opened.could_change_unseen = (flags & kCouldChangeUnseen) != 0;
    opened.is_hot = (flags & kIsHot) != 0;
    opened.name = tame(fields.text(kMostText));
    opened.state = fields.digest();
    opened.resume = fields.digest();
    if ((flags & kHasMemory) != 0) {
        OfferedMemory& memory = opened.memory.emplace();
        memory.machine = fields.text(kMostMachine);
        memory.span_pages = fields.number64();
        memory.ram_pages = fields.number64();
        memory.key = fields.digest();
        memory.is_question = fields.flag();
    }
    if ((flags & kIsRow) != 0) opened.row = take_row(fields, geometry.size_bytes);
    fields.end();
    // Sizes are added to offsets everywhere: a disk ends where a file could.
    constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
    if (geometry.size_bytes == 0 || geometry.size_bytes > kLargest ||
        !is_sector_size(geometry.logical_sector_bytes) || !is_sector_size(geometry.physical_sector_bytes) ||
        flags >
            (kIsBlockDevice | kIsRotational | kIsBusy | kCouldChangeUnseen | kIsHot | kHasMemory | kIsRow) ||
        (opened.memory && !opened.is_hot) || opened.resume == Token{})
        throw_not_honest("a disk that cannot be");
    return opened;
}

}  // namespace dupengine::wire

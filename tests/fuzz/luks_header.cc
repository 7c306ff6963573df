// Any bytes as the text of a LUKS2 header, in two copies whose checksums are right (or no change would get
// past them), or as the beginning of a LUKS1 header. What is believed must be readable: a payload of whole
// encryption sectors, behind the header and within the part.

#include "codec/digest.h"
#include "layout/luks.h"
#include "tests/fuzz/fuzz_disk.h"

namespace {

using namespace dupengine;

constexpr std::uint64_t kSize = 4 * kMiB, kHeader = 16 * kKiB;

void put_be(Bytes& disk, std::uint64_t at, std::uint64_t value) {
    store_le<std::uint64_t>(disk, at, __builtin_bswap64(value));
}

void put_copy(Bytes& disk, std::uint64_t at, std::string_view magic, std::span<const std::byte> text) {
    fuzz::place(disk, at, as_bytes(magic));
    disk[at + 7] = std::byte{2};
    put_be(disk, at + 8, kHeader);
    fuzz::place(disk, at + 72, as_bytes("sha256"));
    fuzz::place(disk, at + 168, as_bytes("some-uuid"));
    put_be(disk, at + 256, at);
    fuzz::place(disk, at + 4096, text.first(std::min<std::size_t>(text.size(), kHeader - 4096)));
    fuzz::place(disk, at + 448, codec::sha256(std::span(disk).subspan(at, kHeader)));
}

void look(Bytes content) {
    const fuzz::FuzzDisk disk(std::move(content), 512, false);
    try {
        const layout::LuksHeader header = layout::read_luks_header(disk);
        fuzz::require(header.payload.begin <= header.payload.end && header.payload.end <= kSize,
                      "the payload lies on the part");
        fuzz::require(header.payload.size() % header.sector_bytes == 0, "it is whole sectors");
        fuzz::require(header.payload.begin >= 592, "it lies behind the header");
    } catch (const Error& e) {
        fuzz::require(e.code() == Code::kIntegrity, "the only way out is kIntegrity");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    Bytes disk(kSize);
    put_copy(disk, 0, std::string_view("LUKS\xba\xbe", 6), bytes);
    put_copy(disk, kHeader, std::string_view("SKUL\xba\xbe", 6), bytes);
    look(std::move(disk));
    Bytes old(kSize);
    fuzz::place(old, 0, as_bytes(std::string_view("LUKS\xba\xbe\0\1", 8)));
    fuzz::place(old, 8, bytes);
    look(std::move(old));
    return 0;
}

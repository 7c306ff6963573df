// Marks of incomplete copies on hostile disks. An input is a byte of flags, then the text of the mark, or the
// whole mark as it lies on the disk.
//   flags 1: sectors of 4096 bytes   2: at the end   4: only the text is given; the rest of the mark is right

#include "layout/incomplete_mark.h"

#include "codec/digest.h"
#include "tests/fuzz/fuzz_disk.h"

namespace dupengine::fuzz {
namespace {

constexpr unsigned kLargeSectors = 1, kAtTheEnd = 2, kTextOnly = 4;
constexpr std::uint64_t kDisk = 64 * kKiB;

Bytes framed(std::span<const std::byte> text) {
    Bytes mark(56 + text.size());
    place(mark, 0, as_bytes("DUPENGINE-UNDONE"));
    store_le<std::uint32_t>(mark, 16, 1);
    store_le<std::uint32_t>(mark, 20, static_cast<std::uint32_t>(text.size()));
    place(mark, 24, codec::sha256(text));
    place(mark, 56, text);
    return mark;
}

bool same(const layout::IncompleteMark& a, const layout::IncompleteMark& b) {
    const auto same_kept = [](const auto& x, const auto& y) {
        return x.name == y.name && x.extent == y.extent && x.entry == y.entry;
    };
    return a.source == b.source && a.started == b.started && a.size_bytes == b.size_bytes &&
           std::equal(a.kept.begin(), a.kept.end(), b.kept.begin(), b.kept.end(), same_kept) &&
           a.journal == b.journal;
}

void check_round_trip(const layout::IncompleteMark& mark, FuzzDisk& disk, block::Extent where) {
    require(mark.size_bytes == kDisk, "only a mark of this disk");
    for (const auto& kept : mark.kept)
        require(!kept.extent.empty() && kept.extent.end <= kDisk, "regions lie on the disk");
    if (mark.journal)
        require(!mark.journal->place.empty() && mark.journal->place.end <= kDisk, "the journal, too");
    Bytes again;
    try {
        again = layout::encode_mark(mark, disk.geometry().logical_sector_bytes);
    } catch (const Error& e) {
        require(e.code() == Code::kRefused,
                "too long is the only reason");  // the fuzzer's text was denser than ours
        return;
    }
    place(disk.content(), where.begin, again);
    const auto found = layout::find_mark(disk);
    require(found && same(*found, mark), "what was read can be written");
}

void run(std::span<const std::byte> input) {
    const unsigned flags = load_le<std::uint8_t>(input, 0);
    const auto rest = input.subspan(1);
    FuzzDisk disk(Bytes(kDisk), (flags & kLargeSectors) != 0 ? 4096 : 512, true);
    const block::Extent where = (flags & kAtTheEnd) != 0 ? layout::mark_extent_tail(disk.geometry())
                                                         : layout::mark_extent_head(disk.geometry());
    const Bytes mark = (flags & kTextOnly) != 0 ? framed(rest) : Bytes(rest.begin(), rest.end());
    place(disk.content(), where.begin, mark);
    if (const auto found = layout::find_mark(disk)) check_round_trip(*found, disk, where);
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 0) dupengine::fuzz::run(std::as_bytes(std::span(data, size)));
    return 0;
}

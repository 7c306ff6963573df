#include "layout/xfs_inodes.h"

#include <algorithm>
#include <bit>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kChunk = 64;      // inodes of one record of a group's tree
constexpr std::uint64_t kHoleInodes = 4;  // inodes of one bit of its mask of holes
constexpr unsigned kDirectory = 0040000, kTypeMask = 0170000;
constexpr std::size_t kOldCore = 100, kSealedCore = 176;  // bytes before the forks; versions 1 and 2, and 3

using OnInode = std::function<void(const XfsInode&)>;

std::size_t core_bytes(const XfsInode& inode) {
    return load_le<std::uint8_t>(inode.content, 4) == 3 ? kSealedCore : kOldCore;
}

void check_inode(const XfsSearch& search, const XfsInode& inode, std::span<const std::byte> content) {
    if (load_be<std::uint16_t>(content, 0) != 0x494E) throw_error(Code::kIntegrity, "no inode");  // "IN"
    const unsigned version = load_le<std::uint8_t>(content, 4);
    if (search.super.checksums ? version != 3 : version != 1 && version != 2)
        throw_error(Code::kIntegrity, "an inode of version {}", version);
    if (!search.super.checksums) return;
    check_xfs_checksum(content, 100, "an inode");
    if (load_be<std::uint64_t>(content, 152) != inode.number ||
        !std::equal(search.super.uuid.begin(), search.super.uuid.end(), content.begin() + 160))
        throw_error(Code::kIntegrity, "inode {} belongs somewhere else", inode.number);
}

XfsInode make_inode(const XfsSearch& search, std::uint64_t group, std::uint64_t in_group) {
    XfsInode inode;
    inode.number = group << search.inode_bits | in_group;
    const ByteOffset at =
        group * search.super.group_blocks * search.super.block_bytes + in_group * search.inode_bytes;
    inode.place = {at, at + search.inode_bytes};
    return inode;
}

void fill(XfsSearch& search, XfsInode& inode, std::span<const std::byte> content) {
    search.tolerating([&] {
        check_inode(search, inode, content);
        inode.content.assign(content.begin(), content.end());
    });
}

// One record of the tree: 64 inodes side by side, which of them are free, and which have no place at all.
class Chunks {
  public:
    Chunks(XfsSearch& search, std::uint64_t group, const OnInode& on_inode)
        : search_(search), group_(group), on_inode_(on_inode) {}

    void take(std::span<const std::byte> record) {
        const std::uint64_t first = load_be<std::uint32_t>(record, 0),
                            holes = search_.sparse_chunks ? load_be<std::uint16_t>(record, 4) : 0,
                            free = load_be<std::uint64_t>(record, 8);
        if (first < end_) throw_error(Code::kIntegrity, "inodes that do not ascend");
        end_ = first + kChunk;
        const auto is_hole = [&](std::uint64_t i) { return (holes >> i / kHoleInodes & 1) != 0; };
        for (std::uint64_t i = 0; i < kChunk;) {
            std::uint64_t end = i;
            while (end < kChunk && is_hole(end) == is_hole(i))
                ++end;
            if (!is_hole(i)) take_run(first + i, end - i, free >> i);
            i = end;
        }
    }

  private:
    void take_run(std::uint64_t first, std::uint64_t count, std::uint64_t free) {
        const std::uint64_t per_block = search_.super.block_bytes / search_.inode_bytes,
                            first_block = first / per_block, last_block = (first + count - 1) / per_block;
        search_.bytes_of(group_, first_block, last_block - first_block + 1);
        const ByteOffset begin = make_inode(search_, group_, first).place.begin;
        Bytes all;
        try {
            all = block::read_extent(search_.part, {begin, begin + count * search_.inode_bytes});
        } catch (const Error& e) {
            if (e.code() != Code::kSourceIo) throw;  // one by one, then
        }
        for (std::uint64_t i = 0; i < count; ++i) {
            XfsInode inode = make_inode(search_, group_, first + i);
            inode.in_use = (free >> i & 1) == 0;
            if (inode.in_use && !all.empty())
                fill(search_, inode, std::span(all).subspan(i * search_.inode_bytes, search_.inode_bytes));
            else if (inode.in_use)
                search_.tolerating(
                    [&] { fill(search_, inode, block::read_extent(search_.part, inode.place)); });
            on_inode_(inode);
        }
    }

    XfsSearch& search_;
    std::uint64_t group_;
    const OnInode& on_inode_;
    std::uint64_t end_ = 0;
};

void take_group(XfsSearch& search, std::uint64_t group, const OnInode& on_inode) {
    const std::uint64_t sector = search.super.sector_bytes;
    const ByteOffset at = group * search.super.group_blocks * search.super.block_bytes + 2 * sector;
    const Bytes agi = block::read_extent(search.part, {at, at + sector});
    if (load_be<std::uint32_t>(agi, 0) != 0x58414749 || load_be<std::uint32_t>(agi, 8) != group)
        throw_error(Code::kIntegrity, "no AGI");
    if (search.super.checksums) check_xfs_checksum(agi, 312, "its AGI");
    Chunks chunks(search, group, on_inode);
    XfsGroupTree tree(search.part, search.super, group, kXfsInodeTree, XfsGroupTree::Damage::kSkip);
    tree.walk(load_be<std::uint32_t>(agi, 20), load_be<std::uint32_t>(agi, 24),
              [&](std::span<const std::byte> record) { search.tolerating([&] { chunks.take(record); }); });
    if (tree.skipped()) search.complete = false;
}

}  // namespace

XfsSearch::XfsSearch(const block::Reader& reader) : part(reader), super(read_xfs_super(reader)) {
    const Bytes sector = block::read_extent(part, {0, 512});
    const auto log_of = [&](std::size_t at) { return load_le<std::uint8_t>(sector, at); };
    const auto features2 = load_be<std::uint32_t>(sector, 200) | load_be<std::uint32_t>(sector, 204),
               incompatible = load_be<std::uint32_t>(sector, 216);
    inode_bytes = load_be<std::uint16_t>(sector, 104);
    if (!std::has_single_bit(inode_bytes) || inode_bytes < 256 || inode_bytes > super.block_bytes)
        throw_error(Code::kIntegrity, "inodes of {} bytes", inode_bytes);
    const std::uint64_t per_block = super.block_bytes / inode_bytes;
    if (log_of(192) > 16 || super.block_bytes << log_of(192) > 64 * kKiB)
        throw_error(Code::kIntegrity, "folders in 2^{} blocks", log_of(192));
    folder_block_bytes = super.block_bytes << log_of(192);
    if (!super.checksums && (load_be<std::uint16_t>(sector, 100) & 0x2000) == 0)
        throw_error(Code::kIntegrity, "folders of version 1");
    root = load_be<std::uint64_t>(sector, 56);
    block_bits = log_of(124);
    inode_bits = block_bits + static_cast<unsigned>(std::countr_zero(per_block));
    file_types = super.checksums ? (incompatible & 0x1) != 0 : (features2 & 0x200) != 0;
    sparse_chunks = super.checksums && (incompatible & 0x2) != 0;
    blocks_left = 4 * super.blocks;  // folders are read once for their files, once more for themselves
}

block::Extent XfsSearch::bytes_of(std::uint64_t group, std::uint64_t in_group, std::uint64_t count) const {
    if (group >= super.groups || in_group < super.header_blocks() || in_group > super.blocks_in(group) ||
        count > super.blocks_in(group) - in_group)
        throw_error(Code::kIntegrity, "{} blocks at block {} of group {}", count, in_group, group);
    const std::uint64_t first = group * super.group_blocks + in_group;
    return {first * super.block_bytes, (first + count) * super.block_bytes};
}

Bytes XfsSearch::read_structure(block::Extent extent) {
    const std::uint64_t count = extent.size() / super.block_bytes;
    if (count > blocks_left) throw_error(Code::kIntegrity, "it has more structures than blocks");
    blocks_left -= count;
    return block::read_extent(part, extent);
}

bool XfsInode::is_folder() const {
    return !content.empty() && (load_be<std::uint16_t>(content, 2) & kTypeMask) == kDirectory;
}

void for_each_xfs_inode(XfsSearch& search, const OnInode& on_inode) {
    // Where that many groups are nothing, there may be millions of them.
    constexpr unsigned kDamagedGroups = 1000;
    unsigned damaged = 0;
    for (std::uint64_t group = 0; group < search.super.groups && damaged < kDamagedGroups; ++group)
        if (!search.tolerating([&] { take_group(search, group, on_inode); })) ++damaged;
}

XfsInode read_xfs_inode(XfsSearch& search, std::uint64_t number) {
    const std::uint64_t group = number >> search.inode_bits,
                        in_group = number & ((std::uint64_t{1} << search.inode_bits) - 1);
    XfsInode inode;
    inode.number = number;
    search.tolerating([&] {
        search.bytes_of(group, in_group / (search.super.block_bytes / search.inode_bytes), 1);
        inode = make_inode(search, group, in_group);
        inode.in_use = true;
        fill(search, inode, block::read_extent(search.part, inode.place));
    });
    return inode;
}

std::span<const std::byte> xfs_fork(const XfsInode& inode, XfsFork fork) {
    const auto forks = std::span(inode.content).subspan(core_bytes(inode));
    const std::size_t attributes_at = load_le<std::uint8_t>(inode.content, 82) * std::size_t{8};
    if (attributes_at > forks.size())
        throw_error(Code::kIntegrity, "attributes at byte {} of an inode", attributes_at);
    if (fork == XfsFork::kContent) return attributes_at == 0 ? forks : forks.first(attributes_at);
    return attributes_at == 0 ? forks.first(0) : forks.subspan(attributes_at);
}

XfsFormat xfs_format(const XfsInode& inode, XfsFork fork) {
    return static_cast<XfsFormat>(load_le<std::uint8_t>(inode.content, fork == XfsFork::kContent ? 5 : 83));
}

}  // namespace dupengine::layout

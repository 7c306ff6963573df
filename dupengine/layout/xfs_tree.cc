#include "layout/xfs_tree.h"

#include <algorithm>

namespace dupengine::layout {

XfsGroupTree::XfsGroupTree(const block::Reader& part, const XfsSuper& super, std::uint64_t group,
                           const XfsTreeKind& kind, Damage damage)
    : part_(part),
      super_(super),
      group_(group),
      blocks_(super.blocks_in(group)),
      kind_(kind),
      damage_(damage),
      header_bytes_(super.checksums ? 56 : 16),
      blocks_left_(blocks_) {}

void XfsGroupTree::walk(std::uint32_t root, std::uint32_t levels, const OnRecord& on_record) {
    if (levels == 0 || levels > kLevelLimit)
        throw_error(Code::kIntegrity, "its tree of {} has {} levels", kind_.of, levels);
    visit(root, levels - 1, levels == 1, on_record);
    for (const Place& place : places_)
        if (place.right != kNoBlock && damage_ == Damage::kThrow)
            throw_error(Code::kIntegrity, "the last block of a tree level says that {} follows", place.right);
}

Bytes XfsGroupTree::read_block(std::uint32_t number) {
    if (number < super_.header_blocks() || number >= blocks_)
        throw_error(Code::kIntegrity, "its tree of {} points to block {} of {}", kind_.of, number, blocks_);
    if (blocks_left_ == 0)
        throw_error(Code::kIntegrity, "its tree of {} has more blocks than there are", kind_.of);
    --blocks_left_;
    const ByteOffset at = (group_ * super_.group_blocks + number) * super_.block_bytes;
    Bytes block = block::read_extent(part_, {at, at + super_.block_bytes});
    if (load_be<std::uint32_t>(block, 0) != (super_.checksums ? kind_.sealed_magic : kind_.magic))
        throw_error(Code::kIntegrity, "block {} is no tree block of {}", number, kind_.of);
    if (!super_.checksums) return block;
    check_xfs_checksum(block, 52, "a tree block");
    if (load_be<std::uint64_t>(block, 16) != at / 512 || load_be<std::uint32_t>(block, 48) != group_ ||
        !std::equal(super_.uuid.begin(), super_.uuid.end(), block.begin() + 32))
        throw_error(Code::kIntegrity, "tree block {} belongs somewhere else", number);
    return block;
}

void XfsGroupTree::check_place(std::uint32_t number, unsigned level, std::span<const std::byte> block) {
    Place& place = places_[level];
    const auto left = load_be<std::uint32_t>(block, 8), right = load_be<std::uint32_t>(block, 12);
    if (!place.unknown && (left != place.block || (!place.first && place.right != number)))
        throw_error(Code::kIntegrity, "tree block {} and its neighbours contradict each other", number);
    place = {number, right, false, false};
}

void XfsGroupTree::visit(std::uint32_t number, unsigned level, bool is_lonely_leaf,
                         const OnRecord& on_record) {
    const Bytes block = read_block(number);
    const std::size_t count = load_be<std::uint16_t>(block, 6);
    if (load_be<std::uint16_t>(block, 4) != level)
        throw_error(Code::kIntegrity, "tree block {} is of level {}, not {}", number,
                    load_be<std::uint16_t>(block, 4), level);
    // A node has keys and then, for each, a pointer.
    const std::size_t room =
        (super_.block_bytes - header_bytes_) / (level == 0 ? kind_.record_bytes : kind_.key_bytes + 4);
    if (count > room || (count == 0 && !is_lonely_leaf))
        throw_error(Code::kIntegrity, "tree block {} has {} entries, {} fit", number, count, room);
    check_place(number, level, block);
    for (std::size_t i = 0; i < count; ++i)
        if (level == 0)
            on_record(std::span(block).subspan(header_bytes_ + i * kind_.record_bytes, kind_.record_bytes));
        else
            visit_child(load_be<std::uint32_t>(block, header_bytes_ + room * kind_.key_bytes + i * 4),
                        level - 1, on_record);
}

void XfsGroupTree::visit_child(std::uint32_t number, unsigned level, const OnRecord& on_record) {
    try {
        visit(number, level, false, on_record);
    } catch (const Error& e) {
        if (damage_ == Damage::kThrow || (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo)) throw;
        skipped_ = true;
        for (unsigned below = 0; below <= level; ++below)
            places_[below].unknown = true;
    }
}

}  // namespace dupengine::layout

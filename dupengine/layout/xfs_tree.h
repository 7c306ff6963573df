#pragma once
// The B+trees of an XFS allocation group that index its free space and its inodes ("XFS Algorithms & Data
// Structures", 3rd edition, "Short Format Btrees"). Internal to layout/. Every block lies in the group and
// fits to its neighbours; what does not throws kIntegrity. Used by one thread.

#include <array>
#include <functional>

#include "layout/xfs_super.h"

namespace dupengine::layout {

struct XfsTreeKind {
    const char* of;              ///< for messages: "free space"
    std::uint32_t magic;         ///< version 4
    std::uint32_t sealed_magic;  ///< version 5
    std::size_t record_bytes;
    std::size_t key_bytes;
};
inline constexpr XfsTreeKind kXfsFreeTree{"free space", 0x41425442, 0x41423342, 8, 8};  // "ABTB", "AB3B"
inline constexpr XfsTreeKind kXfsInodeTree{"inodes", 0x49414254, 0x49414233, 16, 4};    // "IABT", "IAB3"

class XfsGroupTree {
  public:
    enum class Damage {
        kThrow,
        kSkip  ///< what cannot be read or believed is left out, and the walk goes on behind it
    };
    XfsGroupTree(const block::Reader& part, const XfsSuper& super, std::uint64_t group,
                 const XfsTreeKind& kind, Damage damage = Damage::kThrow);

    /// Calls `on_record` with the records from left to right. Throws what `on_record` throws.
    using OnRecord = std::function<void(std::span<const std::byte> record)>;
    void walk(std::uint32_t root, std::uint32_t levels, const OnRecord& on_record);
    /// Something was left out.
    bool skipped() const { return skipped_; }

  private:
    static constexpr unsigned kLevelLimit = 9;  // as in the kernel (XFS_BTREE_MAXLEVELS)
    static constexpr std::uint32_t kNoBlock = 0xFFFFFFFF;
    struct Place {  // the last block seen of a level, and what it says comes next
        std::uint32_t block = kNoBlock, right = kNoBlock;
        bool first = true, unknown = false;
    };

    Bytes read_block(std::uint32_t number);
    void check_place(std::uint32_t number, unsigned level, std::span<const std::byte> block);
    void visit(std::uint32_t number, unsigned level, bool is_lonely_leaf, const OnRecord& on_record);
    void visit_child(std::uint32_t number, unsigned level, const OnRecord& on_record);

    const block::Reader& part_;
    const XfsSuper& super_;
    std::uint64_t group_, blocks_;
    const XfsTreeKind& kind_;
    Damage damage_;
    std::size_t header_bytes_;
    std::array<Place, kLevelLimit> places_;
    std::uint64_t blocks_left_;  // a tree that bites its own tail comes to an end
    bool skipped_ = false;
};

}  // namespace dupengine::layout

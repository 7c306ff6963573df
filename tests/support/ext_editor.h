#pragma once
// Changes numbers of an ext filesystem in memory and puts its checksums right again, so that a test reaches
// what lies behind them. Offsets are those of struct ext2_super_block and struct ext4_group_desc; 64-byte
// descriptors.

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace dupengine::test {

class ExtEditor {
  public:
    explicit ExtEditor(std::span<std::byte> image) : image_(image) {}

    template <typename T>
    T super(std::size_t field) const {
        return load_le<T>(image_, kSuper + field);
    }
    template <typename T>
    void set_super(std::size_t field, T value) {
        store_le<T>(image_, kSuper + field, value);
        seal_super();
    }
    /// A field of the descriptor of `group`.
    template <typename T>
    T descriptor(std::uint32_t group, std::size_t field) const {
        return load_le<T>(image_, descriptor_at(group) + field);
    }
    template <typename T>
    void set_descriptor(std::uint32_t group, std::size_t field, T value) {
        store_le<T>(image_, descriptor_at(group) + field, value);
        seal_descriptor(group);
    }

    std::uint64_t block_bytes() const { return std::uint64_t{1024} << (super<std::uint32_t>(0x18) & 7); }
    std::span<std::byte> block(std::uint64_t number) {
        return image_.subspan(number * block_bytes(), block_bytes());
    }
    std::uint64_t bitmap_block(std::uint32_t group) const { return descriptor<std::uint32_t>(group, 0); }

    /// Computes the checksum of the superblock / of one descriptor anew.
    void seal_super();
    void seal_descriptor(std::uint32_t group);

  private:
    static constexpr std::size_t kSuper = 1024;
    std::size_t descriptor_at(std::uint32_t group) const {
        return (block_bytes() == 1024 ? 2048 : block_bytes()) + std::size_t{group} * 64;
    }
    std::span<std::byte> image_;
};

}  // namespace dupengine::test

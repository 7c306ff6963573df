#pragma once
// The fields of payloads, one behind the other: numbers (little-endian, or in groups of seven bits where they
// are mostly small), texts and lists with a length in front. Reading checks every length against a limit and
// what is there. Pure; an object is used by one thread.

#include <string>
#include <vector>

#include "block/extent.h"
#include "codec/digest.h"

namespace dupengine::wire {

class FieldWriter {
  public:
    void number8(std::uint8_t value) { bytes_.push_back(static_cast<std::byte>(value)); }
    void number32(std::uint32_t value);
    void number64(std::uint64_t value);
    /// LEB128.
    void short_number(std::uint64_t value);
    void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    void text(std::string_view text);
    /// Ascending, disjoint.
    void extents(std::span<const block::Extent> extents);
    Bytes take() { return std::move(bytes_); }

  private:
    Bytes bytes_;
};

/// Throws kPeer for whatever is not as it was written.
class FieldReader {
  public:
    explicit FieldReader(std::span<const std::byte> bytes) : left_(bytes) {}
    std::uint8_t number8();
    std::uint32_t number32();
    std::uint64_t number64();
    std::uint64_t short_number();
    bool flag();
    std::span<const std::byte> raw(std::size_t size);
    codec::Sha256 digest();
    std::string text(std::size_t limit);
    std::vector<block::Extent> extents(std::size_t limit);
    std::span<const std::byte> rest();
    std::size_t left() const { return left_.size(); }
    /// All has been read.
    void end() const;

  private:
    std::span<const std::byte> left_;
};

}  // namespace dupengine::wire

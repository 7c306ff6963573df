#pragma once
// What a copy reads from and writes to, seen as bytes at offsets: a disk, a raw image file, memory (tests).
// `Reader` is all that most code ever sees. `Device` adds writing; it is handled only inside block/ and by
// fakes, because everything that writes goes through the guard (guard.h). Reads and writes of disjoint ranges
// may run in parallel from several threads. Errors are dupengine::Error; a Reader throws kSourceIo, a Device
// kTargetIo.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "block/extent.h"

namespace dupengine::block {

class Transfers;

struct Geometry {
    std::uint64_t size_bytes = 0;
    std::uint32_t logical_sector_bytes = 512;  ///< the smallest unit of transfer; 512 for a file unless said
    std::uint32_t physical_sector_bytes = 512;
    bool is_block_device = false;
    bool rotational = false;
    bool in_memory = false;  ///< a file on tmpfs: to transfer is to copy from memory to memory
};

class Reader {
  public:
    virtual ~Reader() = default;
    virtual const Geometry& geometry() const = 0;
    /// How messages and reports call it: the path as given, or a description.
    virtual const std::string& name() const = 0;
    /// Reads all of `buffer` at `offset`; any alignment. Past the end: an error.
    virtual void read(ByteOffset offset, std::span<std::byte> buffer) const = 0;
    /// As read, but from the medium: nothing that this machine still holds in memory may answer.
    virtual void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
        read(offset, buffer);
    }
    enum class From { kAnywhere, kMedium };
    /// As read or read_from_medium, but may return before it is done: `transfers` gives `tag` back then.
    /// `buffer` lies in its memory. The default reads at once. Throws what is known at once.
    virtual void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                            std::span<std::byte> buffer, From from) const;
    /// The first part of `within` that may hold anything but zeros; empty if the rest is a hole.
    /// A device without a hole map answers `within`.
    virtual Extent next_data(Extent within) const { return within; }
    /// Whether next_data would find any; may be answered in less time.
    virtual bool has_data(Extent within) const { return !next_data(within).empty(); }
    /// What of it a copy is going to read, about in order, and that nothing else of it matters; for a reader
    /// that can prepare for that. Before any start_read or holds of these bytes.
    virtual void expect(const ExtentSet& data) const { static_cast<void>(data); }
    /// Not 0: `holds` can be asked about pieces that begin at multiples of this and are as long.
    virtual std::uint64_t known_piece_bytes() const { return 0; }
    /// Whether it holds just these bytes, told by their digest and without reading them. What is not
    /// expected of the piece is zero in `bytes`, and so is what lies behind the end.
    virtual bool holds(ByteOffset offset, std::span<const std::byte> bytes) const {
        static_cast<void>(offset), static_cast<void>(bytes);
        return false;
    }
    /// This is read next, just so; for a reader that is far away and asks for several at once. False if it
    /// makes no difference.
    virtual bool will_read(Extent extent) const {
        static_cast<void>(extent);
        return false;
    }
    /// What kind of content was found in this part by somebody who could look at it with less effort, in the
    /// form that layout/signature.h describes; nothing if nobody looked.
    virtual std::optional<std::string> known_signature(Extent part) const {
        static_cast<void>(part);
        return {};
    }
    /// A descriptor that libraries may read from (never write), or -1.
    virtual int native_fd() const { return -1; }
    /// Where byte 0 of this reader lies in what native_fd() reads.
    virtual ByteOffset native_offset() const { return 0; }

    /// Buffers, offsets and sizes that are multiples of this go straight to the device.
    static constexpr std::size_t kAlignment = 4096;
};

class Device : public Reader {
  public:
    /// Writes all of `buffer` at `offset`; any alignment that is a multiple of the logical sector.
    virtual void write(ByteOffset offset, std::span<const std::byte> buffer) = 0;
    /// As write, but may return before it is done; see start_read.
    virtual void start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                             std::span<const std::byte> buffer);
    enum class Zeroing {
        kDeallocate,  ///< give the space back where the device promises to read zeros afterwards, else write
                      ///< zeros
        kAllocate     ///< zeros that keep their space
    };
    /// Makes the range read as zeros.
    virtual void zero(Extent extent, Zeroing how) = 0;
    /// Returns when all that was written is durable. An error is final: the data may be lost.
    virtual void flush() = 0;
};

/// Reads `extent` of `reader` into a new buffer. For metadata of known, small size.
Bytes read_extent(const Reader& reader, Extent extent);

/// A view of one part of a reader (a partition). Offsets count from the start of the part; both outlive it.
class Window final : public Reader {
  public:
    Window(const Reader& whole, Extent part, std::string name);
    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override;
    Extent next_data(Extent within) const override;
    std::optional<std::string> known_signature(Extent part) const override {
        return whole_.known_signature({part_.begin + part.begin, part_.begin + part.end});
    }
    int native_fd() const override { return whole_.native_fd(); }
    ByteOffset native_offset() const override { return whole_.native_offset() + part_.begin; }
    Extent part() const { return part_; }

  private:
    void check(ByteOffset offset, std::size_t size) const;
    const Reader& whole_;
    Extent part_;
    Geometry geometry_;
    std::string name_;
};

}  // namespace dupengine::block

#pragma once
// A disk put together from ranges of others and from bytes in memory: a source as it has to be on its target
// (a filesystem shrunk and moved, a table for other sectors), a logical volume out of pieces of its physical
// volumes. Where nothing was laid there is a hole. What was laid later lies on top. Nothing is ever written
// through it. Once it is put together it may be read from any thread; what was laid must outlive it.

#include <map>
#include <string>

#include "block/device.h"

namespace dupengine::block {

class Patchwork final : public Reader {
  public:
    Patchwork(std::string name, const Geometry& geometry);

    /// Lays `from`, beginning at its byte `begin`, over `place`. Throws kInternal past either's end.
    void lay(Extent place, const Reader& from, ByteOffset begin);
    void lay(ByteOffset place, Bytes content);
    /// Makes a hole.
    void lift(Extent place);

    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;
    void start_read(Transfers& transfers, std::uint64_t tag, ByteOffset offset, std::span<std::byte> buffer,
                    From from) const override;
    Extent next_data(Extent within) const override;
    /// Of a part that lies in one other reader.
    std::optional<std::string> known_signature(Extent part) const override;

  private:
    struct Patch {
        ByteOffset end = 0;
        const Reader* from = nullptr;          // null: `content`
        std::shared_ptr<const Bytes> content;  // shared by the parts of a patch that was cut in two
        ByteOffset begin = 0;                  // in `from` or `content`
    };
    using Patches = std::map<ByteOffset, Patch>;
    void check(Extent place) const;
    void put(Extent place, Patch patch);
    void cut_at(ByteOffset at);
    Patches::const_iterator first_ending_after(ByteOffset at) const;
    template <typename OnPiece>
    void for_each_piece(Extent within, OnPiece&& on_piece) const;
    void read_pieces(ByteOffset offset, std::span<std::byte> buffer, From from) const;

    std::string name_;
    Geometry geometry_;
    Patches patches_;  // by where they begin; disjoint
};

}  // namespace dupengine::block

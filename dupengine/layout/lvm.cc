// LVM2: of a physical volume its own structures, and of the logical volumes what their filesystems use.

#include <algorithm>

#include "layout/lvm_volume.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using block::ExtentSet;

// A logical volume as one stretch of bytes.
class MappedReader final : public block::Reader {
  public:
    MappedReader(const block::Reader& part, const LvmLogicalVolume& volume)
        : part_(part), volume_(volume), geometry_(part.geometry()) {
        geometry_.size_bytes = volume.size_bytes;
    }
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return volume_.name; }

    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset)
            throw_error(Code::kSourceIo, "{}: {} bytes at {} pass its end", name(), buffer.size(), offset);
        auto piece = std::upper_bound(volume_.pieces.begin(), volume_.pieces.end(), offset,
                                      [](ByteOffset at, const LvmPiece& p) { return at < p.begin; });
        for (--piece; !buffer.empty(); ++piece) {
            const std::uint64_t inside = offset - piece->begin;
            const std::size_t size = std::min<std::uint64_t>(buffer.size(), piece->place.size() - inside);
            part_.read(piece->place.begin + inside, buffer.first(size));
            buffer = buffer.subspan(size);
            offset += size;
        }
    }

    /// Where bytes of the volume lie in the part.
    void add_places(const ExtentSet& used, ExtentSet& places) const {
        for (const LvmPiece& piece : volume_.pieces) {
            const Extent covers{piece.begin, piece.begin + piece.place.size()};
            for (Extent e : used.clipped_to(covers))
                places.insert(
                    {e.begin - piece.begin + piece.place.begin, e.end - piece.begin + piece.place.begin});
        }
    }

  private:
    const block::Reader& part_;
    const LvmLogicalVolume& volume_;
    block::Geometry geometry_;
};

std::string add_volume(const block::Reader& part, const LvmLogicalVolume& volume, ExtentSet& places) {
    const auto add_whole = [&](const std::string& why) {
        for (const LvmPiece& piece : volume.pieces)
            places.insert(piece.place);
        return fmt::format("{} (whole: {})", volume.name, why);
    };
    if (!volume.plain) return add_whole("not plain, or not all of it is here");
    const MappedReader reader(part, volume);
    const std::optional<Signature> signature = probe_signature(reader);
    if (signature && signature->type == "LVM2_member") return add_whole("LVM in LVM");
    const UsedExtents used = find_used_extents(reader, signature);
    if (used.whole) return add_whole(used.reason);
    reader.add_places(used.used, places);
    reader.add_places(used.blank, places);
    return fmt::format("{} ({})", volume.name, signature->type);
}

}  // namespace

UsedExtents lvm_used_extents(const block::Reader& part) {
    const LvmPhysicalVolume volume = read_lvm_volume(part);
    const Extent all{0, part.geometry().size_bytes};
    UsedExtents result;
    result.filesystem_bytes = all.size();
    // Everything but the extents: label, metadata areas, a boot loader's area.
    result.used = ExtentSet{all};
    result.used.erase(volume.extents);
    std::string names;
    ExtentSet places;
    for (const LvmLogicalVolume& logical : volume.volumes)
        names += (names.empty() ? "" : ", ") + add_volume(part, logical, places);
    result.used.insert(places);
    result.note = fmt::format("LVM group {}: {}", volume.group, names.empty() ? "no logical volumes" : names);
    return result;
}

}  // namespace dupengine::layout

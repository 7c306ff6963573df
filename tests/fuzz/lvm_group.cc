// Any text as the metadata of an LVM2 volume group. What is believed must be readable: every byte of a plain
// volume lies in the extents of one physical volume, and no two bytes in the same place.

#include "layout/lvm_group.h"

#include <algorithm>
#include <cstdlib>

#include "layout/lvm_volume.h"

namespace {

using namespace dupengine;

// A physical volume of zeros that minds its end.
class Zeros final : public block::Reader {
  public:
    explicit Zeros(std::uint64_t size_bytes) { geometry_.size_bytes = size_bytes; }
    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        if (offset > geometry_.size_bytes || buffer.size() > geometry_.size_bytes - offset) std::abort();
        std::fill(buffer.begin(), buffer.end(), std::byte{0});
    }

  private:
    block::Geometry geometry_;
    std::string name_ = "zeros";
};

void look_at(const layout::LvmGroup& group, const layout::LvmLogicalVolume& volume,
             const std::vector<const block::Reader*>& parts) {
    const layout::LvmVolumeReader reader(volume, parts);
    const std::uint64_t size = volume.size_bytes, some = std::min<std::uint64_t>(size, 4096);
    block::read_extent(reader, {0, some});
    block::read_extent(reader, {size - some, size});
    const block::ExtentSet used = {{0, size / 3}, {size / 2, size - size / 5}};
    std::vector<block::ExtentSet> places(parts.size());
    reader.add_places(used, places);
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
        found += places[i].total_bytes();
        for (block::Extent e : places[i])
            if (!group.physical[i].extents.contains(e)) std::abort();
    }
    if (found != used.total_bytes()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    layout::LvmGroup group;
    try {
        group = layout::parse_lvm_group({reinterpret_cast<const char*>(data), size});
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) std::abort();
        return 0;
    }
    std::vector<Zeros> disks;
    for (const layout::LvmPhysicalVolume& physical : group.physical)
        disks.emplace_back(physical.extents.end);
    std::vector<const block::Reader*> parts;
    for (const Zeros& disk : disks)
        parts.push_back(&disk);
    for (const layout::LvmLogicalVolume& volume : group.logical)
        if (volume.special.empty() && !volume.segments.empty()) look_at(group, volume, parts);
    return 0;
}

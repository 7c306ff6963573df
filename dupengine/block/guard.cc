#include "block/guard.h"

namespace dupengine::block {

void ProtectedRegions::add(std::string name, Extent extent) {
    if (extent.empty()) throw_error(Code::kUsage, "protected region {} {} is empty", name, extent.text());
    regions_.push_back({std::move(name), extent});
}

const ProtectedRegions::Region* ProtectedRegions::touched_by(Extent extent) const {
    for (const Region& region : regions_)
        if (region.extent.touches(extent)) return &region;
    return nullptr;
}

ExtentSet ProtectedRegions::extents() const {
    ExtentSet all;
    for (const Region& region : regions_)
        all.insert(region.extent);
    return all;
}

ProtectedRegions ProtectedRegions::all_except(Extent writable, std::uint64_t size_bytes,
                                              const std::string& name) {
    return all_except(ExtentSet{writable}, size_bytes, name);
}

ProtectedRegions ProtectedRegions::all_except(const ExtentSet& writable, std::uint64_t size_bytes,
                                              const std::string& name) {
    ProtectedRegions regions;
    for (Extent gap : writable.gaps_in({0, size_bytes}))
        regions.add("everything but " + name, gap);
    return regions;
}

Target::Target(std::unique_ptr<Device> device, ProtectedRegions regions)
    : device_(std::move(device)), regions_(std::move(regions)) {
    for (const auto& region : regions_.regions())
        if (region.extent.end > geometry().size_bytes)
            throw_error(Code::kRefused, "{}: protected region {} {} passes the end ({} bytes)", name(),
                        region.name, region.extent.text(), geometry().size_bytes);
}

void Target::check(Extent extent, const char* verb) const {
    const std::uint64_t size = geometry().size_bytes;
    if (extent.end < extent.begin || extent.end > size)
        throw_error(Code::kInternal, "{}: {} of {} passes its end ({} bytes)", name(), verb, extent.text(),
                    size);
    const std::uint32_t sector = geometry().logical_sector_bytes;
    if (extent.begin % sector != 0 || (extent.end % sector != 0 && extent.end != size))
        throw_error(Code::kInternal, "{}: {} of {} is not made of whole {} byte sectors", name(), verb,
                    extent.text(), sector);
    if (const auto* region = regions_.touched_by(extent))
        throw_error(Code::kRefused, "{}: {} of {} would touch the protected region {} {}; stopped before it",
                    name(), verb, extent.text(), region->name, region->extent.text());
}

void Target::write(ByteOffset offset, std::span<const std::byte> buffer) {
    if (buffer.empty()) return;
    check({offset, offset + buffer.size()}, "a write");
    device_->write(offset, buffer);
    written_.fetch_add(buffer.size(), std::memory_order_relaxed);
}

void Target::start_write(Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                         std::span<const std::byte> buffer) {
    check({offset, offset + buffer.size()}, "a write");
    device_->start_write(transfers, tag, offset, buffer);
    written_.fetch_add(buffer.size(), std::memory_order_relaxed);
}

void Target::zero(Extent extent, Device::Zeroing how) {
    if (extent.empty()) return;
    check(extent, "a zeroing");
    device_->zero(extent, how);
    zeroed_.fetch_add(extent.size(), std::memory_order_relaxed);
}

}  // namespace dupengine::block

#include "tests/support/fake_devices.h"

#include <algorithm>

#include "base/fd.h"
#include "base/random.h"

namespace dupengine::test {

MemoryDevice::MemoryDevice(std::shared_ptr<DiskBytes> bytes, std::uint32_t sector_bytes, std::string name)
    : bytes_(std::move(bytes)), name_(std::move(name)) {
    geometry_.size_bytes = bytes_->content.size();
    geometry_.logical_sector_bytes = sector_bytes;
    geometry_.physical_sector_bytes = std::max(4096u, sector_bytes);
}

void MemoryDevice::note(Operation operation, block::Extent extent) const {
    std::size_t number = 0;
    {
        const std::lock_guard lock(mutex_);
        number = calls_.size();
        calls_.push_back({operation, extent});
    }
    if (interceptor_) interceptor_(number, {operation, extent});
    if (extent.end > geometry_.size_bytes)
        throw_error(Code::kInternal, "{}: {} passes the end", name_, extent.text());
}

std::vector<Call> MemoryDevice::calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
}

void MemoryDevice::read(ByteOffset offset, std::span<std::byte> buffer) const {
    note(Operation::kRead, {offset, offset + buffer.size()});
    std::copy_n(bytes_->content.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
}

void MemoryDevice::read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const {
    note(Operation::kReadFromMedium, {offset, offset + buffer.size()});
    std::copy_n(bytes_->content.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
}

void MemoryDevice::write(ByteOffset offset, std::span<const std::byte> buffer) {
    note(Operation::kWrite, {offset, offset + buffer.size()});
    std::copy(buffer.begin(), buffer.end(), bytes_->content.begin() + static_cast<std::ptrdiff_t>(offset));
}

void MemoryDevice::zero(block::Extent extent, Zeroing) {
    note(Operation::kZero, extent);
    std::fill_n(bytes_->content.begin() + static_cast<std::ptrdiff_t>(extent.begin), extent.size(),
                std::byte{0});
}

void MemoryDevice::flush() {
    note(Operation::kFlush, {});
}

void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed) {
    SeededRandom random(seed);
    random.fill(bytes);
    for (std::size_t i = 0; i < bytes.size(); i += 256)
        bytes[i] = std::byte{0xA5};
}

std::shared_ptr<DiskBytes> load_file(const std::string& path) {
    const std::string content = read_file(path, Code::kInternal, std::size_t{4} << 30);
    auto bytes = std::make_shared<DiskBytes>(content.size());
    const auto view = as_bytes(content);
    std::copy(view.begin(), view.end(), bytes->content.begin());
    return bytes;
}

}  // namespace dupengine::test

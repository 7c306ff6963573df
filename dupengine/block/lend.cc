#include "block/lend.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace dupengine::block {
namespace {

constexpr int kTries = 32;  // another program may take the free device that the kernel just named

int free_loop_number() {
    const Fd control = open_path("/dev/loop-control", O_RDWR, Code::kUnsupported);
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) throw_errno(Code::kUnsupported, errno, "no free loop device");
    return number;
}

}  // namespace

LentRange::LentRange(const std::string& path, Extent range, const ProtectedRegions& regions, Access access,
                     std::uint32_t sector_bytes) {
    if (const auto* region = regions.touched_by(range))
        throw_error(Code::kRefused, "{}: {} touches the protected region {} and is not lent out", path,
                    range.text(), region->name);
    const bool writable = access == Access::kWrite;
    const Fd backing =
        open_path(path, writable ? O_RDWR : O_RDONLY, writable ? Code::kTargetIo : Code::kSourceIo);
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.block_size = sector_bytes;
    config.info.lo_offset = range.begin;
    config.info.lo_sizelimit = range.size();
    // Autoclear: the device goes away with the last descriptor, also when this program is killed.
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (writable ? 0 : LO_FLAGS_READ_ONLY);
    for (int i = 0; i < kTries; ++i) {
        const std::string node = fmt::format("/dev/loop{}", free_loop_number());
        Fd loop = open_path(node, writable ? O_RDWR : O_RDONLY, Code::kUnsupported);
        if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) {
            device_ = node;
            fd_ = std::move(loop);
            return;
        }
        if (errno != EBUSY)
            throw_errno(Code::kUnsupported, errno, "{}: {} cannot be lent as {}", path, range.text(), node);
    }
    throw_error(Code::kUnsupported, "{}: no loop device could be had in {} tries", path, kTries);
}

LentRange::~LentRange() = default;  // closing the last descriptor detaches

void LentRange::give_back() {
    if (!fd_.valid()) return;
    if (::fsync(fd_.get()) != 0) throw_errno(Code::kTargetIo, errno, "{}: flush failed", device_);
    fd_ = Fd();
}

}  // namespace dupengine::block

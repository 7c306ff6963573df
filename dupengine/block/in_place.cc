#include "block/in_place.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/aligned_buffer.h"
#include "base/copy_bytes.h"
#include "base/fd.h"
#include "block/open.h"

namespace dupengine::block {
namespace {

constexpr std::size_t kPieceBytes = kMiB;

Geometry geometry_of(int fd, const std::string& name) {
    Geometry geometry;
    geometry.is_block_device = true;
    int logical = 0;
    unsigned physical = 0;
    if (::ioctl(fd, BLKGETSIZE64, &geometry.size_bytes) != 0 || ::ioctl(fd, BLKSSZGET, &logical) != 0 ||
        ::ioctl(fd, BLKPBSZGET, &physical) != 0)
        throw_errno(Code::kRefused, errno, "{}: the device does not tell its size", name);
    geometry.logical_sector_bytes = static_cast<std::uint32_t>(logical);
    geometry.physical_sector_bytes = physical;
    if (geometry.size_bytes == 0) throw_error(Code::kRefused, "{}: has no bytes", name);
    return geometry;
}

Fd open_block_device(const std::string& path, int flags) {
    if (!identify(path).is_block_device)
        throw_error(Code::kRefused, "{}: is no block device, and a running system is on nothing else", path);
    if (flags & O_RDWR) refuse_if_read_only(path);
    return open_path(path, flags, Code::kRefused);
}

// Past every cache: whole sectors, by way of memory that is aligned.
class MediumDevice final : public Device {
  public:
    MediumDevice(const std::string& path, int access)
        : name_(path),
          code_(access == O_RDONLY ? Code::kSourceIo : Code::kTargetIo),
          fd_(open_block_device(path, access | O_DIRECT)),
          geometry_(geometry_of(fd_.get(), path)) {}

    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }

    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        const std::uint64_t sector = geometry_.logical_sector_bytes;
        AlignedBuffer piece(std::min(kPieceBytes, align_up(buffer.size() + 2 * sector, sector)));
        for (std::size_t done = 0; done < buffer.size();) {
            const ByteOffset begin = align_down(offset + done, sector), skipped = offset + done - begin;
            const std::size_t wanted = std::min(buffer.size() - done, piece.size() - skipped);
            const auto sectors = piece.first(align_up(skipped + wanted, sector));
            pread_exact(fd_.get(), begin, sectors, code_, name_);
            copy_bytes(sectors.subspan(skipped, wanted), buffer.subspan(done, wanted));
            done += wanted;
        }
    }
    void write(ByteOffset offset, std::span<const std::byte> buffer) override {
        AlignedBuffer piece(std::min(kPieceBytes, buffer.size()));
        for (std::size_t done = 0; done < buffer.size();) {
            const auto sectors = piece.first(std::min(buffer.size() - done, piece.size()));
            copy_bytes(buffer.subspan(done, sectors.size()), sectors);
            pwrite_exact(fd_.get(), offset + done, sectors, code_, name_);
            done += sectors.size();
        }
    }
    void zero(Extent extent, Zeroing) override {
        const Bytes zeros(std::min<std::uint64_t>(kPieceBytes, extent.size()));
        for (ByteOffset at = extent.begin; at < extent.end; at += zeros.size())
            write(at, std::span(zeros).first(std::min<std::uint64_t>(zeros.size(), extent.end - at)));
    }
    void flush() override {
        if (::fsync(fd_.get()) != 0)
            throw_errno(code_, errno, "{}: flush failed; what was written may be lost", name_);
    }

  private:
    std::string name_;
    Code code_;
    Fd fd_;
    Geometry geometry_;
};

// Bytes as they are, through whatever the kernel puts between; `begin_` is where byte 0 is.
class PlainDevice final : public Device {
  public:
    enum class Flush { kSync, kNothingToDo };
    PlainDevice(std::string name, Fd fd, const Geometry& geometry, ByteOffset begin, Code code, Flush flush)
        : name_(std::move(name)),
          fd_(std::move(fd)),
          geometry_(geometry),
          begin_(begin),
          code_(code),
          flush_(flush) {}

    const Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override {
        check(offset, buffer.size());
        pread_exact(fd_.get(), begin_ + offset, buffer, code_, name_);
    }
    void write(ByteOffset offset, std::span<const std::byte> buffer) override {
        check(offset, buffer.size());
        pwrite_exact(fd_.get(), begin_ + offset, buffer, code_, name_);
    }
    void zero(Extent extent, Zeroing) override {
        const Bytes zeros(std::min<std::uint64_t>(kPieceBytes, extent.size()));
        for (ByteOffset at = extent.begin; at < extent.end; at += zeros.size())
            write(at, std::span(zeros).first(std::min<std::uint64_t>(zeros.size(), extent.end - at)));
    }
    void flush() override {
        if (flush_ == Flush::kSync && ::fsync(fd_.get()) != 0)
            throw_errno(code_, errno, "{}: flush failed; what was written may be lost", name_);
    }

  private:
    // Behind the end of a range of memory there is something else.
    void check(ByteOffset offset, std::size_t size) const {
        if (offset > geometry_.size_bytes || size > geometry_.size_bytes - offset)
            throw_error(code_, "{}: {} bytes at {} pass its end", name_, size, offset);
    }

    std::string name_;
    Fd fd_;
    Geometry geometry_;
    ByteOffset begin_;
    Code code_;
    Flush flush_;
};

std::unique_ptr<PlainDevice> memory_device(const std::string& memory, Extent range, const std::string& name,
                                           int access) {
    constexpr std::uint32_t kUnit = 512;  // memory has no sectors; a profile's slots are laid out in these
    Fd fd = open_path(memory, access, Code::kRefused);
    if (access != O_RDONLY && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
        throw_error(Code::kRefused, "{}: another program is changing it", name);
    const Geometry geometry{range.size(), kUnit, kUnit, false, false};
    return std::make_unique<PlainDevice>(name, std::move(fd), geometry, range.begin,
                                         access == O_RDONLY ? Code::kSourceIo : Code::kTargetIo,
                                         PlainDevice::Flush::kNothingToDo);
}

}  // namespace

std::unique_ptr<Reader> open_medium(const std::string& disk) {
    return std::make_unique<MediumDevice>(disk, O_RDONLY);
}

std::unique_ptr<Target> open_disk_in_place(const std::string& disk, ProtectedRegions regions) {
    return std::make_unique<Target>(std::make_unique<MediumDevice>(disk, O_RDWR), std::move(regions));
}

Media media_with(std::map<std::string, std::shared_ptr<HeldBytes>> held) {
    const auto all =
        std::make_shared<const std::map<std::string, std::shared_ptr<HeldBytes>>>(std::move(held));
    const auto open = [all](const std::string& disk, int access) -> std::unique_ptr<Device> {
        auto medium = std::make_unique<MediumDevice>(disk, access);
        const auto found = all->find(disk);
        if (found == all->end()) return medium;
        return with_held(std::move(medium), found->second);
    };
    return {[open](const std::string& disk) { return open(disk, O_RDONLY); },
            [open](const std::string& disk, ProtectedRegions regions) {
                return std::make_unique<Target>(open(disk, O_RDWR), std::move(regions));
            }};
}

std::unique_ptr<Target> open_partition_in_place(const std::string& node, ProtectedRegions regions) {
    Fd fd = open_block_device(node, O_RDWR);
    Geometry geometry = geometry_of(fd.get(), node);
    return std::make_unique<Target>(std::make_unique<PlainDevice>(node, std::move(fd), geometry, 0,
                                                                  Code::kTargetIo, PlainDevice::Flush::kSync),
                                    std::move(regions));
}

std::unique_ptr<Reader> open_memory(const std::string& memory, Extent range, const std::string& name) {
    return memory_device(memory, range, name, O_RDONLY);
}

std::unique_ptr<Target> open_memory_in_place(const std::string& memory, Extent range,
                                             const std::string& name) {
    return std::make_unique<Target>(memory_device(memory, range, name, O_RDWR), ProtectedRegions{});
}

}  // namespace dupengine::block

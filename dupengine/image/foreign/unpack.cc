// Compressed disks: unpacked whole before anything is planned, so that a damaged one is known by then.

#include <algorithm>

#include "base/units.h"
#include "block/open.h"
#include "block/scratch_file.h"
#include "image/foreign/decompress.h"
#include "image/foreign/foreign_disk.h"

namespace dupengine::image {
namespace {

// A scratch file as the disk that it holds.
class UnpackedDisk final : public block::Reader {
  public:
    UnpackedDisk(block::ScratchFile file, std::string name)
        : file_(std::move(file)),
          disk_(block::open_source(block::lasting_path(file_.fd()))),
          window_(*disk_, {0, disk_->geometry().size_bytes}, std::move(name)) {}

    const block::Geometry& geometry() const override { return window_.geometry(); }
    const std::string& name() const override { return window_.name(); }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override { window_.read(offset, buffer); }
    void start_read(block::Transfers& transfers, std::uint64_t tag, ByteOffset offset,
                    std::span<std::byte> buffer, From from) const override {
        window_.start_read(transfers, tag, offset, buffer, from);
    }
    block::Extent next_data(block::Extent within) const override { return window_.next_data(within); }
    int native_fd() const override { return window_.native_fd(); }

  private:
    block::ScratchFile file_;
    std::unique_ptr<block::Reader> disk_;
    block::Window window_;
};

// Zeros become holes. Returns what took room.
std::uint64_t write_unless_zero(const block::ScratchFile& file, ByteOffset offset,
                                std::span<const std::byte> bytes) {
    constexpr std::size_t kGrain = 64 * kKiB;
    std::uint64_t written = 0;
    for (std::size_t at = 0; at < bytes.size(); at += kGrain) {
        const auto part = bytes.subspan(at, std::min(kGrain, bytes.size() - at));
        if (is_zero(part)) continue;
        file.write(offset + at, part);
        written += part.size();
    }
    return written;
}

}  // namespace

ForeignDisk unpack(const ForeignFile& packed, DiskForm form) {
    // As large as a file can be; a few bytes can stand for more zeros than anybody waits for.
    constexpr std::uint64_t kLargest = std::uint64_t{1} << 48;
    const auto source = decompress(packed, form);
    block::ScratchFile file("what " + packed.name + " unpacks to");
    Bytes buffer(kMiB);
    std::uint64_t size = 0, stored = 0;
    for (std::size_t got = buffer.size(); got == buffer.size(); size += got) {
        got = source->read(buffer);
        stored += write_unless_zero(file, size, std::span(buffer).first(got));
        if (size > kLargest) throw_error(Code::kUnsupported, "{}: unpacks to more than 256 TiB", packed.name);
    }
    if (size == 0) throw_error(Code::kRefused, "{}: holds nothing", packed.name);
    file.extend_to(size);
    file.settle();
    std::string note =
        fmt::format("{} holds {} in {}; unpacked, they take {} in {} until the end", packed.name,
                    format_size(size), form_name(form), format_size(stored), file.folder());
    return {std::make_unique<UnpackedDisk>(std::move(file), packed.name), std::move(note), {}};
}

}  // namespace dupengine::image

#include "layout/signature.h"

#include <blkid/blkid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/fd.h"

namespace dupengine::layout {
namespace {

using Probe = std::unique_ptr<blkid_struct_probe, decltype(&blkid_free_probe)>;

// The values are at most a few hundred bytes; the limit only keeps a broken one from growing.
constexpr std::size_t kValueLimit = 1024;

std::string value_of(blkid_probe probe, const char* name) {
    const char* data = nullptr;
    std::size_t size = 0;
    if (blkid_probe_lookup_value(probe, name, &data, &size) != 0 || data == nullptr) return {};
    const std::string text(data, std::min(size, kValueLimit));
    return text.substr(0, text.find('\0'));  // libblkid counts the terminator
}

// Probes `part` of what the descriptor holds. Only superblocks: whether there is a partition table is not
// asked here.
std::optional<Signature> probe_fd(int fd, block::Extent part, std::uint32_t sector_bytes,
                                  const std::string& name) {
    const Probe probe(blkid_new_probe(), &blkid_free_probe);
    if (probe == nullptr) throw_error(Code::kInternal, "{}: libblkid gives no probe", name);
    errno = 0;
    if (blkid_probe_set_device(probe.get(), fd, static_cast<blkid_loff_t>(part.begin),
                               static_cast<blkid_loff_t>(part.size())) != 0)
        throw_errno(Code::kSourceIo, errno, "{}: cannot be probed for signatures", name);
    blkid_probe_set_sectorsize(probe.get(), sector_bytes);
    blkid_probe_enable_superblocks(probe.get(), 1);
    blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                       BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL |
                                                       BLKID_SUBLKS_VERSION);
    blkid_probe_enable_partitions(probe.get(), 0);
    errno = 0;
    const int found = blkid_do_safeprobe(probe.get());
    if (found == -1 && errno != 0)
        throw_errno(Code::kSourceIo, errno, "{}: cannot be probed for signatures", name);
    if (found != 0) return std::nullopt;  // 1: nothing, -2: two formats claim it
    Signature signature{value_of(probe.get(), "TYPE"), value_of(probe.get(), "USAGE"),
                        value_of(probe.get(), "UUID"), value_of(probe.get(), "LABEL"),
                        value_of(probe.get(), "VERSION")};
    if (signature.type.empty()) return std::nullopt;
    return signature;
}

void copy_to_fd(const block::Reader& reader, block::Extent from, ByteOffset base, int fd) {
    constexpr std::uint64_t kStep = kMiB;
    for (ByteOffset at = from.begin; at < from.end; at += kStep) {
        const Bytes bytes = block::read_extent(reader, {at, std::min(at + kStep, from.end)});
        if (!is_zero(bytes)) pwrite_exact(fd, at - base, bytes, Code::kInternal, "memory file");
    }
}

// A sparse file in memory, as large as the part, with its first and last 4 MiB: every signature libblkid
// knows lies there.
std::optional<Signature> probe_copy(const block::Reader& reader, block::Extent part) {
    constexpr std::uint64_t kEnds = 4 * kMiB;
    const Fd fd(::memfd_create("dupengine-probe", MFD_CLOEXEC));
    if (!fd.valid()) throw_errno(Code::kInternal, errno, "{}: no memory file to probe it in", reader.name());
    if (::ftruncate(fd.get(), static_cast<off_t>(part.size())) != 0)
        throw_errno(Code::kInternal, errno, "{}: no memory file of {} bytes", reader.name(), part.size());
    const ByteOffset head_end = std::min(part.begin + kEnds, part.end);
    const ByteOffset tail_begin = std::max(head_end, part.end - std::min(kEnds, part.size()));
    copy_to_fd(reader, {part.begin, head_end}, part.begin, fd.get());
    copy_to_fd(reader, {tail_begin, part.end}, part.begin, fd.get());
    return probe_fd(fd.get(), {0, part.size()}, reader.geometry().logical_sector_bytes, reader.name());
}

}  // namespace

std::string encode_signature(const std::optional<Signature>& signature) {
    if (!signature) return {};
    std::string text = signature->type;
    for (const std::string& field : {signature->usage, signature->uuid, signature->label, signature->version})
        text += '\0' + field;
    return text;
}

std::optional<Signature> decode_signature(const std::string& text) {
    Signature signature;
    std::size_t at = 0;
    for (std::string* field :
         {&signature.type, &signature.usage, &signature.uuid, &signature.label, &signature.version}) {
        const std::size_t end = std::min(text.find('\0', at), text.size());
        *field = text.substr(at, std::min(end - at, kValueLimit));
        at = std::min(end + 1, text.size());
    }
    if (signature.type.empty()) return std::nullopt;
    return signature;
}

std::optional<Signature> probe_signature(const block::Reader& disk, block::Extent part) {
    const std::uint64_t size = disk.geometry().size_bytes;
    if (part.end > size)
        throw_error(Code::kSourceIo, "{}: {} passes its end ({} bytes)", disk.name(), part.text(), size);
    if (part.empty()) return std::nullopt;
    if (const auto known = disk.known_signature(part)) return decode_signature(*known);
    if (disk.native_fd() < 0) return probe_copy(disk, part);
    const ByteOffset base = disk.native_offset();
    return probe_fd(disk.native_fd(), {base + part.begin, base + part.end},
                    disk.geometry().logical_sector_bytes, disk.name());
}

std::optional<Signature> probe_signature(const block::Reader& reader) {
    return probe_signature(reader, {0, reader.geometry().size_bytes});
}

}  // namespace dupengine::layout

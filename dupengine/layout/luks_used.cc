// LUKS: the header, and of the payload those encryption sectors that hold what the filesystem inside uses.
// They are copied as they are, same header, same key, unless the container is a view already
// (Plaintext::is_new).

#include "layout/luks.h"
#include "layout/plaintext.h"
#include "layout/used_extents.h"

namespace dupengine::layout {
namespace {

using block::Extent;

UsedExtents whole_because(std::string reason) {
    UsedExtents result;
    result.whole = true;
    result.reason = std::move(reason);
    return result;
}

}  // namespace

UsedExtents luks_used_extents(const block::Reader& part, PlaintextFinder* finder) {
    const LuksHeader header = read_luks_header(part);
    const std::string name = fmt::format("LUKS{}", header.version);
    Plaintext found{nullptr, "closed"};
    if (finder != nullptr) found = finder->find(part, header);
    if (found.reader == nullptr) return whole_because(fmt::format("{}, {}", name, found.how));
    const block::Reader& plain = *found.reader;
    const std::uint64_t covered = plain.geometry().size_bytes;
    if (covered > header.payload.size())
        return whole_because(fmt::format("{}, {}, and larger than its payload", name, found.how));
    const auto signature = probe_signature(plain);
    // What is in one with a new key is behind that key, whatever it is.
    const UsedExtents inside = find_used_extents(plain, signature, found.is_new ? nullptr : finder);
    if (inside.whole) return whole_because(fmt::format("{}, {}; in it: {}", name, found.how, inside.reason));
    UsedExtents result;
    // Zeros in its place would decrypt to anything but zeros.
    block::ExtentSet used = inside.used;
    used.insert(inside.blank);
    used = used.aligned_outwards(header.sector_bytes, header.payload.size());
    const std::uint64_t end = header.payload.begin + align_down(covered, header.sector_bytes);
    result.used = used.shifted(header.payload.begin);
    result.used.insert({0, header.payload.begin});
    result.used.insert({end, part.geometry().size_bytes});
    result.filesystem_bytes = part.geometry().size_bytes;
    result.block_bytes = header.sector_bytes;
    result.note = fmt::format("{}, {}: of the {} in it only the used blocks are copied, encrypted {}{}", name,
                              found.how, signature->type, found.is_new ? "anew" : "as they are",
                              inside.note.empty() ? "" : "; " + inside.note);
    return result;
}

}  // namespace dupengine::layout

#include "engine/catch_up.h"

#include <algorithm>

#include "base/copy_bytes.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

constexpr std::size_t kAtOnce = kMiB;
// More than any source makes (cli/clone.cc).
constexpr std::size_t kMostRounds = 4096;

}  // namespace

CatchUp::CatchUp(const CopyPlan& plan, std::vector<BootStage>& boot, const block::Reader& source,
                 block::Target& target, ApplyContext& context)
    : plan_(plan), boot_(boot), source_(source), target_(target), context_(context), buffer_(kAtOnce) {
    for (const BootStage& stage : boot)
        for (const auto& piece : stage.pieces)
            boot_places_.insert({piece.offset, piece.offset + piece.content.size()});
}

void CatchUp::take_round() {
    if (caught_up_.round_bytes.size() == kMostRounds)
        throw_error(Code::kPeer, "{}: its changes have no end", source_.name());
    context_.progress.begin("catch up", 0);
    block::Changes changes = context_.next_round();
    take(to_be_copied(std::move(changes.extents)));
    is_over_ = changes.is_last;
}

ExtentSet CatchUp::to_be_copied(ExtentSet changed) const {
    const std::uint64_t size = plan_.source.geometry.size_bytes;
    for (const Extent table : layout::table_extents(plan_.source.table, size))
        if (changed.touches(table))
            throw_error(Code::kIntegrity,
                        "{}: its partition table was written while it was copied; the target is marked "
                        "unfinished, run the same command again",
                        source_.name());
    changed.erase(plan_.protected_regions().extents());
    return changed;
}

void CatchUp::take(const ExtentSet& changed) {
    context_.progress.begin("catch up", changed.total_bytes());
    caught_up_.round_bytes.push_back(changed.total_bytes());
    std::vector<Written> written;
    for (const Extent e : changed)
        for (ByteOffset at = e.begin; at < e.end; at += kAtOnce)
            copy({at, std::min(at + kAtOnce, e.end)}, written);
    target_.flush();
    if (plan_.options.verify == Verify::kNone) return;
    for (const Written& w : written)
        read_back(w);
}

void CatchUp::copy(Extent part, std::vector<Written>& written) {
    if (context_.stop.stop_requested())
        throw_error(Code::kInterrupted, "stopped on request; run the same command again");
    const auto bytes = buffer_.first(part.size());
    source_.read_from_medium(part.begin, bytes);
    caught_up_.bytes_read += part.size();
    for (const Extent e : boot_places_.gaps_in(part)) {
        const auto piece = bytes.subspan(e.begin - part.begin, e.size());
        target_.write(e.begin, piece);
        written.push_back({e, codec::xxh128(piece)});
    }
    if (boot_places_.touches(part)) put_into_boot_structures(part, bytes);
    context_.progress.advance(part.size());
}

void CatchUp::put_into_boot_structures(Extent part, std::span<const std::byte> bytes) {
    for (BootStage& stage : boot_)
        for (auto& piece : stage.pieces) {
            const Extent both = Extent{piece.offset, piece.offset + piece.content.size()}.clipped_to(part);
            if (both.empty()) continue;
            copy_bytes(bytes.subspan(both.begin - part.begin, both.size()),
                       std::span(piece.content).subspan(both.begin - piece.offset));
        }
}

void CatchUp::read_back(const Written& written) {
    const auto bytes = buffer_.first(written.place.size());
    target_.read_from_medium(written.place.begin, bytes);
    if (codec::xxh128(bytes) != written.digest)
        throw_error(Code::kIntegrity, "{}: {} does not read back as it was written", target_.name(),
                    written.place.text());
    caught_up_.bytes_verified += written.place.size();
}

}  // namespace dupengine::engine

#include "engine/check_image.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using From = block::Reader::From;

ExtentSet data_of(const block::Reader& image) {
    ExtentSet data;
    Extent rest{0, image.geometry().size_bytes};
    while (!rest.empty()) {
        const Extent found = image.next_data(rest);
        if (found.empty()) break;
        data.insert(found);
        rest.begin = found.end;
    }
    return data;
}

// What `read` failed with; nothing if it did not. Throws what is no damage.
template <typename Read>
std::optional<Error> failure_of(const Read& read) {
    try {
        read();
        return std::nullopt;
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
        return e;
    }
}

std::vector<Extent> pieces_of(Extent extent, std::uint64_t piece_bytes) {
    std::vector<Extent> pieces;
    for (ByteOffset at = extent.begin; at < extent.end; at = pieces.back().end)
        pieces.push_back({at, std::min(align_down(at, piece_bytes) + piece_bytes, extent.end)});
    return pieces;
}

}  // namespace

ImageCheck check_image(const block::Reader& image, Progress& progress, std::stop_token stop) {
    const ExtentSet data = data_of(image);
    PipelineOptions options = choose_pipeline({}, {}, data.total_bytes());
    options.lanes.chunk_bytes = std::max<std::uint64_t>(options.lanes.chunk_bytes, image.known_piece_bytes());
    ImageCheck check;
    std::mutex mutex;
    ChunkWork work;
    const auto note = [&](Extent part, const Error& e) {
        constexpr std::size_t kMostReasons = 10;
        const std::scoped_lock lock(mutex);
        check.damaged.insert(part);
        if (check.reasons.size() < kMostReasons) check.reasons.emplace_back(e.what());
    };
    work.read = [&](Slot& slot) {
        // Only what failed is read again, to see which of the image's chunks it is: of a pipe the rest is
        // gone.
        for (const Extent e : slot.chunk.extents)
            if (const auto failed = failure_of([&] { slot.start_read(image, e, From::kMedium); }))
                for (const Extent part : pieces_of(e, image.known_piece_bytes()))
                    if (const auto damage = failure_of([&] { image.read(part.begin, slot.bytes_of(part)); }))
                        note(part, *damage);
    };
    work.look = [](Slot&) {};
    work.end = [&](Slot& slot) { progress.advance(size_of(slot.chunk)); };
    progress.begin("verify", data.total_bytes());
    image.expect(data);
    try {
        for_each_chunk(data, options.lanes, stop, work);
    } catch (const Error& e) {
        if (e.code() != Code::kInterrupted) throw;
        throw_error(Code::kInterrupted, "stopped on request before all of the image was read");
    }
    check.bytes_read = data.total_bytes();
    return check;
}

}  // namespace dupengine::engine

#include "engine/check_image.h"

#include <algorithm>
#include <mutex>

#include "engine/chunk_bytes.h"
#include "engine/pipeline.h"

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;

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

}  // namespace

ImageCheck check_image(const block::Reader& image, Progress& progress, std::stop_token stop) {
    const ExtentSet data = data_of(image);
    PipelineOptions options = choose_pipeline({}, {}, data.total_bytes());
    options.lanes.chunk_bytes = std::max<std::uint64_t>(options.lanes.chunk_bytes, image.known_piece_bytes());
    ImageCheck check;
    std::mutex mutex;
    ChunkWork work;
    work.read = [&](Slot& slot) { start_reads(slot, image, block::Reader::From::kMedium, 0); };
    work.read_failed = [](Slot& slot, const Error& e) {
        if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
        slot.incomplete = true;
    };
    work.look = [&](Slot& slot) {
        if (!slot.incomplete) return;
        // Which of the image's chunks it is.
        for_each_piece(slot, image.known_piece_bytes(), 0, [&](Extent piece, std::span<const Extent>) {
            const Extent part = piece.clipped_to({0, image.geometry().size_bytes});
            try {
                image.read(part.begin, slot.bytes_of(part));
            } catch (const Error& e) {
                if (e.code() != Code::kIntegrity && e.code() != Code::kSourceIo) throw;
                constexpr std::size_t kMostReasons = 10;
                const std::scoped_lock lock(mutex);
                check.damaged.insert(part);
                if (check.reasons.size() < kMostReasons) check.reasons.emplace_back(e.what());
            }
        });
    };
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

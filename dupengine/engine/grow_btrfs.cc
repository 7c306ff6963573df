// btrfs: the device's size, written through the guard where it stands. The field's program for it
// (`btrfs filesystem resize`) wants the filesystem mounted, and this machine may know the source by the same
// identifier: the kernel tells the two apart by luck only, and takes the one of the higher generation for the
// real one afterwards, so that the source could not be mounted any more. Growing the size changes two or
// three blocks and no generation, and btrfs check(8) then says whether it is sound.

#include "engine/growers.h"
#include "layout/btrfs_size.h"

namespace dupengine::engine {

void grow_btrfs(const GrowJob& job) {
    const block::Extent place = job.step().after;
    const block::Window part(job.target(), place, job.target().name());
    const auto pieces = layout::grow_btrfs_to(part, place.size());
    for (const auto& piece : pieces)
        job.target().write(place.begin + piece.offset, piece.content);
    job.target().flush();
    for (const auto& piece : pieces)
        job.expect_on_medium(place.begin + piece.offset, codec::sha256(piece.content), piece.content.size());
    job.check_medium({"btrfs", "check", "--readonly"});
}

}  // namespace dupengine::engine

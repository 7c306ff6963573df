// FAT16 and FAT32: by ourselves, through the guard. The field's program for it (fatresize, with libparted)
// takes whole disks with a partition table and writes that, too; a lent range has none. fsck.fat(8) then says
// whether it is sound.

#include <algorithm>

#include "engine/growers.h"
#include "layout/fat_growth.h"

namespace dupengine::engine {
namespace {

class FatGrower {
  public:
    explicit FatGrower(const GrowJob& job)
        : job_(job),
          begin_(job.step().after.begin),
          part_(job.target(), job.step().after, job.target().name()),
          growth_(part_, job.step().after.size()) {}

    // Until the FATs are written, all that is read stands where it stood.
    void run() {
        move_clusters();
        growth_.each_folder(part_, [&](ByteOffset place, const Bytes& cluster) { put(place, cluster); });
        const auto boot = growth_.boot_sectors(part_);
        settle();
        for (block::Extent place : growth_.fats())
            for (std::uint64_t at = 0; at < place.size(); at += kPiece)
                put(place.begin + at, growth_.fat_bytes(at, std::min(kPiece, place.size() - at)));
        for (const auto& piece : boot)
            put(piece.offset, piece.content);
        settle();
    }

  private:
    static constexpr std::uint64_t kPiece = kMiB;
    struct Written {
        ByteOffset at = 0;
        std::size_t size = 0;
        codec::Sha256 digest{};
    };

    void write(ByteOffset at, const Bytes& bytes) {
        if (job_.stop().stop_requested()) throw_error(Code::kInterrupted, "growing was stopped on request");
        job_.target().write(begin_ + at, bytes);
    }

    // What stays as it is then, and is read back: a few thousand pieces at a time, however many folders there
    // are.
    void put(ByteOffset at, const Bytes& bytes) {
        constexpr std::size_t kMost = 4096;
        write(at, bytes);
        written_.push_back({at, bytes.size(), codec::sha256(bytes)});
        if (written_.size() == kMost) settle();
    }

    void settle() {
        job_.target().flush();
        for (const Written& piece : std::exchange(written_, {}))
            job_.expect_on_medium(begin_ + piece.at, piece.digest, piece.size);
    }

    // They are part of the copy, so they are read back as all of it is, while both places hold them.
    void move_clusters() {
        const auto moves = growth_.moves();
        for (const auto& move : moves)
            write(move.to, block::read_extent(part_, move.from));
        job_.target().flush();
        for (const auto& move : moves) {
            Bytes there(static_cast<std::size_t>(move.from.size()));
            part_.read_from_medium(move.to, there);
            if (there != block::read_extent(part_, move.from))
                throw_error(Code::kIntegrity,
                            "{}: what was moved to byte {} does not read back as it was written",
                            job_.target().name(), begin_ + move.to);
        }
    }

    const GrowJob& job_;
    const ByteOffset begin_;
    const block::Window part_;
    const layout::FatGrowth growth_;
    std::vector<Written> written_;
};

}  // namespace

void grow_fat(const GrowJob& job) {
    FatGrower(job).run();
    job.check_medium({"fsck.fat", "-n"});
}

}  // namespace dupengine::engine

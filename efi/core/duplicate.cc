#include "efi/core/duplicate.h"

#include "efi/core/sha256.h"

namespace dupengine::efi {
namespace {

constexpr std::size_t kPiece = kMiB;

class Duplication {
  public:
    Duplication(const DuplicatePlan& plan, Disk& source, GuardedTarget& target, Buffer scratch,
                DuplicateWatcher& watcher)
        : plan_(plan),
          source_(source),
          target_(target),
          a_(scratch.first(kPiece)),
          b_(scratch.subspan(kPiece, kPiece)),
          watcher_(watcher) {}

    DuplicateResult run() {
        Sha256 before, after;
        if (!digest_kept(before)) return {"what the target keeps cannot be read", false};
        TextView reason = mark();
        if (reason.empty()) reason = copy();
        if (reason.empty()) reason = compare();
        if (reason.empty() && (!digest_kept(after) || before != after))
            reason = "what the target keeps has changed";
        if (reason.empty()) reason = write_table();
        if (!reason.empty() && target_.refused())
            reason = "the guard stopped a write to what the target keeps";
        return {reason, true};
    }

  private:
    std::uint64_t tail_at() const { return plan_.target_bytes - table_tail_bytes(plan_.sector_bytes); }

    // Of all pieces of all kept regions, in order.
    bool digest_kept(Sha256& digest) {
        std::array<std::byte, 2 * sizeof(Sha256)> both{};
        for (const Region& region : target_.kept())
            for (std::uint64_t at = region.begin; at < region.end; at += kPiece) {
                const Buffer piece = a_.first(region.end - at < kPiece ? region.end - at : kPiece);
                if (!target_.disk().read(at, piece)) return false;
                const Sha256 one = sha256(piece);
                __builtin_memcpy(both.data() + sizeof one, one.data(), sizeof one);
                const Sha256 all = sha256(both);
                __builtin_memcpy(both.data(), all.data(), sizeof all);
            }
        digest = sha256(both);
        return true;
    }

    // First the end, then the start with sector 0: from there on no firmware finds a disk to start.
    TextView mark() {
        const Bytes mark = encode_mark(plan_.kept, "a disk, before the operating system", plan_.target_bytes,
                                       plan_.sector_bytes, a_);
        if (mark.empty()) return "what the target keeps is more than a mark can name";
        if (!target_.write(tail_at(), mark) || !target_.flush()) return "the target cannot be written";
        return mark_start(mark);
    }

    TextView mark_start(Bytes mark) {
        const Buffer start = b_.first(table_head_bytes(plan_.sector_bytes));
        __builtin_memset(start.data(), 0, start.size());
        __builtin_memcpy(start.data() + plan_.sector_bytes, mark.data(), mark.size());
        return target_.write(0, start) && target_.flush() ? TextView()
                                                          : TextView("the target cannot be written");
    }

    TextView copy() {
        std::uint64_t done = 0;
        for (const Region& region : plan_.all_copied())
            for (std::uint64_t at = region.begin; at < region.end; at += kPiece) {
                const Buffer piece = a_.first(region.end - at < kPiece ? region.end - at : kPiece);
                if (!source_.read(at, piece)) return "the source cannot be read";
                if (!target_.write(at, piece)) return "the target cannot be written";
                watcher_.at("copies", done += piece.size(), plan_.bytes);
            }
        return target_.flush() ? TextView() : TextView("the target cannot be written");
    }

    // Both are read: a source that changed meanwhile is no success either.
    TextView compare() {
        std::uint64_t done = 0;
        for (const Region& region : plan_.all_copied())
            for (std::uint64_t at = region.begin; at < region.end; at += kPiece) {
                const std::size_t size = region.end - at < kPiece ? region.end - at : kPiece;
                const Buffer wanted = a_.first(size), found = b_.first(size);
                if (!source_.read(at, wanted)) return "the source cannot be read";
                if (!target_.disk().read(at, found)) return "the target cannot be read back";
                if (!equal(wanted, found)) return "the target does not hold what was written";
                watcher_.at("compares", done += size, plan_.bytes);
            }
        return {};
    }

    bool put(std::uint64_t at, Bytes wanted) {
        const Buffer found = b_.first(wanted.size());
        return target_.write(at, wanted) && target_.flush() && target_.disk().read(at, found) &&
               equal(wanted, found);
    }

    TextView write_table() {
        const Buffer head = a_.first(table_head_bytes(plan_.sector_bytes));
        encode_head(plan_, head);
        bool good = put(0, head);
        const Buffer tail = a_.first(table_tail_bytes(plan_.sector_bytes));
        encode_tail(plan_, tail);
        good = good && put(tail_at(), tail);
        if (good) return {};
        // What is half a table may look like a whole one.
        mark();
        return "the partition table cannot be written";
    }

    const DuplicatePlan& plan_;
    Disk& source_;
    GuardedTarget& target_;
    Buffer a_, b_;
    DuplicateWatcher& watcher_;
};

}  // namespace

DuplicateResult apply_duplicate(const DuplicatePlan& plan, Disk& source, WritableDisk& target, Buffer scratch,
                                DuplicateWatcher& watcher) {
    if (target.read_only()) return {"the target is read-only", false};
    if (target.size_bytes() != plan.target_bytes)
        return {"the target is another one than was planned for", false};
    std::array<Region, kMostRegions> kept;
    for (std::size_t i = 0; i < plan.kept.count; ++i)
        kept[i] = {plan.kept.kept[i].partition.begin, plan.kept.kept[i].partition.end};
    GuardedTarget guarded(target, std::span(kept).first(plan.kept.count));
    return Duplication(plan, source, guarded, scratch, watcher).run();
}

}  // namespace dupengine::efi

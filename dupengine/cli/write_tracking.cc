#include "cli/write_tracking.h"

#include "machine/digest_tracker.h"

namespace dupengine::cli {

WriteTracking choose_tracking(const std::string& asked, bool with_memory) {
    if (with_memory) {
        if (asked == "digest")
            throw_error(Code::kUnsupported,
                        "--track digest is for disks: what keeps a duplicate from the network until it is "
                        "somebody else is a BPF program, too. What works: clone --disks-only --track digest, "
                        "and starting the target from its disk");
        return {};
    }
    if (!asked.empty()) return {asked == "digest", ""};
    const std::string obstacle = machine::WriteTracker::obstacle();
    return {!obstacle.empty(), obstacle};
}

std::unique_ptr<machine::ChangeTracker> start_tracking(const WriteTracking& tracking,
                                                       const SourceDisks& disks, RandomSource& random) {
    if (tracking.by_digest)
        return std::make_unique<machine::DigestTracker>(disks.reader(), disks.followed(), random);
    return std::make_unique<machine::RowTracker>(disks.followed());
}

}  // namespace dupengine::cli

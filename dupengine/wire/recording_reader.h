#pragma once
// What of a disk has to be read to describe it: found by describing it here, where reading costs no way over
// the wire. The other end, which plans, describes it with the same code and so reads the same bytes.

#include <chrono>
#include <memory>
#include <mutex>

#include "wire/message.h"

namespace dupengine::wire {

struct Preparation {
    block::ExtentSet ranges;   ///< whole multiples of a page
    std::vector<Known> known;  ///< libblkid looks at megabytes of each partition; better here than there
};

/// What layout::describe_disk reads, and both ends of the disk; of several in a row what describe_disks
/// reads, and both ends of each. A disk that cannot be described is told of as far as it went: whoever plans
/// finds out why.
Preparation prepare_to_describe(const block::Reader& disk, const std::vector<block::RowPlace>& row = {});

enum class Lasting {
    kForGood,    ///< a change of the disk is noticed elsewhere, and ends the offer
    kForSeconds  ///< the disk may change
};

/// One preparation for all who ask about a disk: describing it costs the same whoever asks, and anybody may
/// ask as often as he likes. Threads: any; who comes while it is made waits for it.
class KeptPreparation {
  public:
    std::shared_ptr<const Preparation> get(const block::Reader& disk, Lasting lasting,
                                           const std::vector<block::RowPlace>& row = {});

  private:
    std::mutex mutex_;
    std::shared_ptr<const Preparation> made_;
    std::chrono::steady_clock::time_point made_at_;
};

}  // namespace dupengine::wire

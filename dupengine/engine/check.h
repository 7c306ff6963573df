#pragma once
// Is a disk whole, as far as it can tell alone: everything that it uses can be read, both copies of its table
// are sound and agree, no copy onto it was left unfinished. With the report of a copy (report.h) also whether
// it holds what was copied. Reads past the page cache; never writes, never repairs. Whether files make sense
// is for the filesystems' own checkers.

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/places.h"
#include "engine/report.h"

namespace dupengine::engine {

struct Check {
    layout::DiskDescription disk;
    std::uint64_t bytes_read = 0;
    std::vector<PartitionPlaces> unreadable;  ///< exact to a sector
    std::vector<PartitionPlaces> different;   ///< from the report: chunks with something else in them
    std::vector<std::string> faults;          ///< whatever else is wrong, one line each
    std::vector<std::string> notes;           ///< what a person should know of what was looked at

    bool sound() const { return unreadable.empty() && different.empty() && faults.empty(); }
};

/// Throws what looking at the table throws if it cannot be read at all, and kInterrupted. `report` may be
/// null.
Check check_disk(const block::Reader& disk, const Report* report, Progress& progress, std::stop_token stop);

}  // namespace dupengine::engine

#pragma once
// What `clone --dry-run` shows: what would go, and who would be asked, as far as that can be seen while
// everything runs. Nobody is prepared, nothing pauses, nothing is written anywhere.

#include <nlohmann/json.hpp>

#include "block/device.h"
#include "cli/text.h"

namespace dupengine::cli {

struct ClonePreview {
    std::string disk, target;
    std::uint64_t disk_bytes = 0, used_bytes = 0;  ///< at this moment; of what is not understood, all
    std::uint64_t memory_bytes = 0;                ///< in use at this moment; 0: it does not go
    std::size_t participants = 0;
    std::vector<std::string> notes;
};

/// Looks at disks in use, together. Throws what reading throws.
ClonePreview look_ahead(const std::vector<const block::Reader*>& disks, bool with_memory);

std::string preview_text(const ClonePreview& preview, Charset charset);
nlohmann::ordered_json preview_json(const ClonePreview& preview);

}  // namespace dupengine::cli

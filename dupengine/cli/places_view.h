#pragma once
// Places on a disk, as verbs tell them to people and programs: by partition, filesystem and file.

#include <nlohmann/json.hpp>
#include <string>

#include "cli/terminal.h"
#include "engine/places.h"

namespace dupengine::cli {

nlohmann::ordered_json extents_json(const block::ExtentSet& extents);

/// `bytes_name` is what the count of bytes is called: "bytes_different".
nlohmann::ordered_json places_json(const engine::PartitionPlaces& places, const std::string& bytes_name);

/// A line for the partition and one for each file, at most some. `what` is "differ" or "cannot be read".
std::string places_lines(const engine::PartitionPlaces& places, const std::string& what, Charset charset);

}  // namespace dupengine::cli

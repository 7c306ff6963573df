#pragma once
// Small disks in memory with a GPT, patterned partitions and, if wanted, a profile: for tests of the engine.

#include <memory>
#include <string>
#include <vector>

#include "layout/partition_table.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {

struct PartitionRecipe {
    unsigned number = 1;
    block::Extent extent;
    std::string name = "data";
    Guid type = layout::type_guid::kLinuxData;
};

/// A table for a disk of this size; GUIDs come from the seed.
layout::PartitionTable make_gpt(std::uint64_t disk_bytes, const std::vector<PartitionRecipe>& recipes,
                                std::uint64_t seed, std::uint32_t sector_bytes = 512);

/// The same as a disk: both copies of the table written, every partition filled with bytes of the seed that
/// no filesystem recognises, and everything else filled too if `garbage_elsewhere`.
std::shared_ptr<DiskBytes> make_gpt_disk(std::uint64_t disk_bytes,
                                         const std::vector<PartitionRecipe>& recipes, std::uint64_t seed,
                                         bool garbage_elsewhere = false, std::uint32_t sector_bytes = 512);

/// Writes the pieces of a table image into the bytes.
void put_table(DiskBytes& disk, const layout::PartitionTable& table);

}  // namespace dupengine::test

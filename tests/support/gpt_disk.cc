#include "tests/support/gpt_disk.h"

#include <algorithm>

#include "base/random.h"

namespace dupengine::test {

layout::PartitionTable make_gpt(std::uint64_t disk_bytes, const std::vector<PartitionRecipe>& recipes,
                                std::uint64_t seed, std::uint32_t sector_bytes) {
    SeededRandom random(seed);
    const std::uint64_t entry_sectors = 16384 / sector_bytes;
    layout::PartitionTable table;
    table.kind = layout::TableKind::kGpt;
    table.sector_bytes = sector_bytes;
    table.disk_guid = random.guid();
    table.first_usable_lba = 2 + entry_sectors;
    table.last_usable_lba = disk_bytes / sector_bytes - entry_sectors - 2;
    for (const PartitionRecipe& recipe : recipes) {
        layout::Partition partition;
        partition.number = recipe.number;
        partition.extent = recipe.extent;
        partition.type_guid = recipe.type;
        partition.guid = random.guid();
        partition.name = recipe.name;
        table.partitions.push_back(partition);
    }
    return table;
}

void put_table(DiskBytes& disk, const layout::PartitionTable& table) {
    const layout::TableImage image = layout::encode_table(table, disk.content.size());
    for (const auto* pieces : {&image.primary, &image.backup})
        for (const auto& piece : *pieces)
            std::copy(piece.content.begin(), piece.content.end(),
                      disk.content.begin() + static_cast<std::ptrdiff_t>(piece.offset));
}

std::shared_ptr<DiskBytes> make_gpt_disk(std::uint64_t disk_bytes,
                                         const std::vector<PartitionRecipe>& recipes, std::uint64_t seed,
                                         bool garbage_elsewhere, std::uint32_t sector_bytes) {
    auto disk = std::make_shared<DiskBytes>(disk_bytes);
    if (garbage_elsewhere) fill_pattern(disk->content, seed + 1000);
    for (const PartitionRecipe& recipe : recipes)
        fill_pattern(std::span(disk->content).subspan(recipe.extent.begin, recipe.extent.size()),
                     seed + recipe.number);
    put_table(*disk, make_gpt(disk_bytes, recipes, seed, sector_bytes));
    return disk;
}

}  // namespace dupengine::test

#include "layout/partition_checks.h"

#include <algorithm>

namespace dupengine::layout {

std::optional<std::pair<unsigned, unsigned>> overlapping_pair(const std::vector<Partition>& partitions) {
    std::vector<const Partition*> by_place;
    for (const Partition& partition : partitions)
        by_place.push_back(&partition);
    std::sort(by_place.begin(), by_place.end(),
              [](const Partition* a, const Partition* b) { return a->extent.begin < b->extent.begin; });
    for (std::size_t i = 1; i < by_place.size(); ++i) {
        const Partition &a = *by_place[i - 1], &b = *by_place[i];
        if (a.extent.touches(b.extent)) return std::minmax({a.number, b.number});
    }
    return {};
}

void require_encodable(const PartitionTable& table) {
    if (table.sector_bytes < 512 || (table.sector_bytes & (table.sector_bytes - 1)) != 0)
        throw_error(Code::kRefused, "a partition table for sectors of {} bytes cannot be made",
                    table.sector_bytes);
    std::vector<unsigned> numbers;
    for (const Partition& partition : table.partitions) {
        const block::Extent extent = partition.extent;
        if (extent.empty() || extent.begin % table.sector_bytes != 0 || extent.end % table.sector_bytes != 0)
            throw_error(Code::kRefused, "partition {}: {} is not a run of whole {} byte sectors",
                        partition.number, extent.text(), table.sector_bytes);
        numbers.push_back(partition.number);
    }
    std::sort(numbers.begin(), numbers.end());
    const auto twice = std::adjacent_find(numbers.begin(), numbers.end());
    if (twice != numbers.end()) throw_error(Code::kRefused, "two partitions have the number {}", *twice);
    if (const auto pair = overlapping_pair(table.partitions))
        throw_error(Code::kRefused, "partitions {} and {} overlap", pair->first, pair->second);
}

}  // namespace dupengine::layout

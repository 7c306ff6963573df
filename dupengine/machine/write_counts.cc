#include "machine/write_counts.h"

#include <array>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace dupengine::machine {
namespace {

std::uint64_t number_in(const std::string& file) {
    std::ifstream stream(file);
    std::uint64_t number = 0;
    stream >> number;
    return number;
}

// Requests and sectors of writes and of discards that are done: none of them ever becomes less.
std::uint64_t done_at(const std::string& folder) {
    std::ifstream stream(folder + "/stat");
    std::array<std::uint64_t, 15> fields{};
    for (std::uint64_t& field : fields)
        if (!(stream >> field)) throw_error(Code::kUnsupported, "{}/stat: does not tell enough", folder);
    return fields[4] + fields[6] + fields[11] + fields[13];
}

std::uint64_t under_way_at(const std::string& folder) {
    std::ifstream stream(folder + "/inflight");
    std::uint64_t reads = 0, writes = 0;
    stream >> reads >> writes;
    return writes;
}

}  // namespace

WriteCounts::WriteCounts(std::string disk, std::string folder)
    : disk_(std::move(disk)), folder_(std::move(folder)) {
    if (number_in(folder_ + "/queue/iostats") == 0)
        throw_error(
            Code::kRefused,
            "{}: its writes are not counted, so that it would not show if one came in the pause: echo "
            "1 > {}/queue/iostats",
            disk_, folder_);
}

// What is written to swap between the two looks is taken for another write, here and in has_moved(): that
// errs on the side of one try more.
void WriteCounts::begin(const block::ExtentSet& swap) {
    constexpr std::uint64_t kSector = 512;  // sysfs counts in these whatever the disk has
    swap_folders_.clear();
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        const std::string part = entry.path().string();
        if (!std::filesystem::exists(part + "/partition")) continue;
        const std::uint64_t begin = number_in(part + "/start") * kSector;
        if (swap.touches({begin, begin + number_in(part + "/size") * kSector})) swap_folders_.push_back(part);
    }
    at_begin_ = done_at(folder_);
    for (const std::string& part : swap_folders_)
        at_begin_ -= done_at(part);
}

bool WriteCounts::has_moved() const {
    std::uint64_t of_swap = 0, swap_under_way = 0;
    for (const std::string& part : swap_folders_) {
        swap_under_way += under_way_at(part);
        of_swap += done_at(part);
    }
    const bool is_written = under_way_at(folder_) > swap_under_way;
    return is_written || done_at(folder_) - of_swap != at_begin_;
}

}  // namespace dupengine::machine

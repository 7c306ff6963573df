#include "layout/fat_growth.h"

#include <algorithm>

namespace dupengine::layout {
namespace {

constexpr std::uint64_t kFirst = FatVolume::kFirstCluster;
// FAT16 stays 16 clusters away from where FAT32 begins, as fatgen103 asks: programs miss that by some.
constexpr std::uint64_t kMostClusters16 = 65524 - 16, kMostClusters32 = 0x0FFFFFF5, kMostSectors = 0xFFFFFFFF;
// The old FAT is held in memory: 32 MiB.
constexpr std::uint64_t kClusterLimit = 8 << 20;
constexpr std::size_t kEntryBytes = 32;

// Offsets in the boot sector, from kFatSectors32 on of FAT32 only, and in the information sector.
constexpr std::size_t kOemName = 3, kTotal16 = 19, kFatSectors16 = 22, kTotal32 = 32, kFatSectors32 = 36,
                      kRootCluster = 44, kInformation = 48, kBackup = 50, kLeadMark = 0, kInnerMark = 484,
                      kFreeCount = 488, kNextFree = 492;
constexpr std::uint32_t kLeadMarkValue = 0x41615252, kInnerMarkValue = 0x61417272, kUnknown = 0xFFFFFFFF;

void refuse_what_cannot_grow(const block::Reader& part, const FatVolume& volume) {
    // At most 4084 clusters, on floppies and the like.
    if (volume.width == FatVolume::Width::k12)
        throw_error(Code::kRefused, "is a FAT12, which nothing here grows");
    if (!volume.mirrored) throw_error(Code::kRefused, "keeps only one of its FATs up to date");
    if (volume.clusters > kClusterLimit)
        throw_error(Code::kRefused, "has {} clusters, more than {}", volume.clusters, kClusterLimit);
    // It has written down which sectors its own files are in.
    const Bytes oem = block::read_extent(part, {kOemName, kOemName + 8});
    if (as_text(oem) == "SYSLINUX")
        throw_error(Code::kRefused, "boots with SYSLINUX, which does not find its files where they move to");
}

}  // namespace

FatGrowth::FatGrowth(const block::Reader& part, std::uint64_t bytes) : before_(read_fat_volume(part)) {
    refuse_what_cannot_grow(part, before_);
    value_bits_ = has_wide_entries() ? 0x0FFFFFFF : 0xFFFF;
    choose_size(bytes);
    read_fat(part);
    for (std::uint64_t cluster = kFirst; cluster < kFirst + shift_; ++cluster)
        if (fat_[cluster] != 0 && (fat_[cluster] & value_bits_) != bad_mark())
            moved_.push_back(static_cast<std::uint32_t>(cluster));
    if (after_.clusters <= before_.clusters || after_.clusters < before_.clusters - shift_ + moved_.size())
        throw_error(Code::kRefused, "would gain nothing");
    used_ = moved_.size() + static_cast<std::uint64_t>(
                                std::count_if(fat_.begin() + static_cast<std::ptrdiff_t>(kFirst + shift_),
                                              fat_.end(), [](std::uint32_t entry) { return entry != 0; }));
    for (std::uint64_t cluster = kFirst; cluster < fat_.size(); ++cluster)
        translate(fat_[cluster]);  // throws now for what would not fit later
}

// The FATs grow by whole clusters each, so that all of the data area stays in step with its clusters.
void FatGrowth::choose_size(std::uint64_t bytes) {
    after_ = before_;
    const std::uint64_t most_clusters = has_wide_entries() ? kMostClusters32 : kMostClusters16;
    const std::uint64_t end = std::min(bytes / before_.sector_bytes, kMostSectors) * before_.sector_bytes;
    for (;; after_.fat_bytes += after_.cluster_bytes) {
        shift_ = (after_.fat_bytes - before_.fat_bytes) / after_.cluster_bytes * after_.fat_copies;
        after_.data_begin = before_.data_begin + shift_ * after_.cluster_bytes;
        if (shift_ >= before_.clusters || after_.data_begin >= end)
            throw_error(Code::kRefused, "has too few clusters to make room for longer FATs");
        after_.clusters = std::min((end - after_.data_begin) / after_.cluster_bytes, most_clusters);
        if (after_.fat_bytes_needed() <= after_.fat_bytes) break;
    }
    after_.end = after_.data_begin + after_.clusters * after_.cluster_bytes;
}

void FatGrowth::read_fat(const block::Reader& part) {
    const Bytes bytes =
        block::read_extent(part, {before_.fat_begin, before_.fat_begin + before_.fat_bytes_needed()});
    fat_.resize(static_cast<std::size_t>(before_.entries()));
    for (std::size_t i = 0; i < fat_.size(); ++i)
        fat_[i] = has_wide_entries() ? load_le<std::uint32_t>(bytes, i * sizeof(std::uint32_t))
                                     : load_le<std::uint16_t>(bytes, i * sizeof(std::uint16_t));
}

std::uint32_t FatGrowth::new_number(std::uint64_t cluster) const {
    if (cluster < kFirst || cluster >= before_.entries())
        throw_error(Code::kIntegrity, "leads to cluster {} of {}", cluster, before_.clusters);
    if (cluster >= kFirst + shift_) return static_cast<std::uint32_t>(cluster - shift_);
    const auto at = std::lower_bound(moved_.begin(), moved_.end(), cluster);
    if (at == moved_.end() || *at != cluster)
        throw_error(Code::kIntegrity, "leads to cluster {}, which is free", cluster);
    return static_cast<std::uint32_t>(before_.entries() - shift_ +
                                      static_cast<std::uint64_t>(at - moved_.begin()));
}

// The four bits at the top of an entry of FAT32 belong to nobody and stay.
std::uint32_t FatGrowth::translate(std::uint32_t entry) const {
    const std::uint32_t value = entry & value_bits_;
    if (value == 0 || value == bad_mark() || value >= end_of_chain()) return entry;
    return (entry & ~value_bits_) | new_number(value);
}

ByteOffset FatGrowth::old_place(std::uint64_t cluster) const {
    return before_.data_begin + (cluster - kFirst) * before_.cluster_bytes;
}

ByteOffset FatGrowth::new_place(std::uint64_t number) const {
    return after_.data_begin + (number - kFirst) * after_.cluster_bytes;
}

std::vector<FatGrowth::Move> FatGrowth::moves() const {
    std::vector<Move> moves;
    for (std::uint32_t cluster : moved_) {
        const ByteOffset from = old_place(cluster);
        moves.push_back({{from, from + before_.cluster_bytes}, new_place(new_number(cluster))});
    }
    return moves;
}

// New numbers into the entries of one cluster of a folder; adds the folders that it names. True if the folder
// ends in it.
bool FatGrowth::renumber(Bytes& folder, std::vector<std::uint32_t>& found) const {
    constexpr std::byte kEnd{0}, kDeleted{0xE5}, kDot{'.'};
    constexpr unsigned kLongName = 0x0F, kLongNameBits = 0x3F, kLabel = 0x08, kIsFolder = 0x10;
    for (std::size_t at = 0; at + kEntryBytes <= folder.size(); at += kEntryBytes) {
        const std::byte first = folder[at];
        if (first == kEnd) return true;
        const auto attributes = std::to_integer<unsigned>(folder[at + 11]);
        if (first == kDeleted || (attributes & kLongNameBits) == kLongName || (attributes & kLabel) != 0)
            continue;
        // FAT16 has something else, or nothing, in the upper half.
        const std::uint32_t upper = has_wide_entries() ? load_le<std::uint16_t>(folder, at + 20) : 0;
        const std::uint32_t cluster = (upper << 16 | load_le<std::uint16_t>(folder, at + 26)) & value_bits_;
        if (cluster == 0) continue;  // an empty file, or the root as somebody's parent
        const std::uint32_t number = new_number(cluster);
        if (has_wide_entries())
            store_le<std::uint16_t>(folder, at + 20, static_cast<std::uint16_t>(number >> 16));
        store_le<std::uint16_t>(folder, at + 26, static_cast<std::uint16_t>(number & 0xFFFF));
        if ((attributes & kIsFolder) != 0 && first != kDot) found.push_back(cluster);
    }
    return false;
}

void FatGrowth::each_folder(const block::Reader& part, const TakeFolder& take) const {
    std::vector<bool> seen(fat_.size());
    const auto see = [&](std::uint64_t cluster) {
        if (cluster < kFirst || cluster >= fat_.size() || seen[cluster])
            throw_error(Code::kIntegrity, "has a folder at cluster {}, where none can be", cluster);
        seen[cluster] = true;
    };
    std::vector<std::uint32_t> folders, found;
    const auto await_found = [&] {
        for (std::uint32_t folder : found) {
            see(folder);  // before it waits its turn: so no more wait than there are clusters
            folders.push_back(folder);
        }
        found.clear();
    };
    Bytes root = block::read_extent(part, {before_.fats_end(), before_.data_begin});  // FAT32: nothing
    if (has_wide_entries())
        found.push_back(static_cast<std::uint32_t>(before_.root_cluster));
    else
        renumber(root, found);
    await_found();
    while (!folders.empty()) {
        std::uint64_t cluster = folders.back();
        folders.pop_back();
        for (bool ends = false; !ends;) {
            const ByteOffset place = old_place(cluster);
            Bytes content = block::read_extent(part, {place, place + before_.cluster_bytes});
            ends = renumber(content, found);
            await_found();
            take(new_place(new_number(cluster)), content);
            cluster = fat_[cluster] & value_bits_;
            ends = ends || cluster >= end_of_chain();
            if (!ends) see(cluster);
        }
    }
    // It goes where folders were that have moved.
    if (!root.empty()) take(after_.fats_end(), root);
}

Bytes FatGrowth::fat_bytes(std::uint64_t begin, std::uint64_t size) const {
    Bytes bytes(static_cast<std::size_t>(size));
    const std::uint64_t kept_end = before_.entries() - shift_;
    for (std::size_t at = 0; at < bytes.size(); at += entry_bytes()) {
        const std::uint64_t number = (begin + at) / entry_bytes();
        std::uint32_t entry = 0;
        if (number < kFirst)
            entry = fat_[number];
        else if (number < kept_end)
            entry = translate(fat_[number + shift_]);
        else if (number < kept_end + moved_.size())
            entry = translate(fat_[moved_[number - kept_end]]);
        if (has_wide_entries())
            store_le<std::uint32_t>(bytes, at, entry);
        else
            store_le<std::uint16_t>(bytes, at, static_cast<std::uint16_t>(entry));
    }
    return bytes;
}

std::vector<block::Extent> FatGrowth::fats() const {
    std::vector<block::Extent> places;
    for (unsigned copy = 0; copy < after_.fat_copies; ++copy) {
        const ByteOffset begin = after_.fat_begin + copy * after_.fat_bytes;
        places.push_back({begin, begin + after_.fat_bytes});
    }
    return places;
}

void FatGrowth::patch_boot_sector(Bytes& sector) const {
    const auto sectors = static_cast<std::uint32_t>(after_.end / after_.sector_bytes);
    const auto fat_sectors = static_cast<std::uint32_t>(after_.fat_bytes / after_.sector_bytes);
    const bool is_short = !has_wide_entries() && sectors <= 0xFFFF;
    store_le<std::uint16_t>(sector, kTotal16, static_cast<std::uint16_t>(is_short ? sectors : 0));
    store_le<std::uint32_t>(sector, kTotal32, is_short ? 0 : sectors);
    if (!has_wide_entries())
        return store_le<std::uint16_t>(sector, kFatSectors16, static_cast<std::uint16_t>(fat_sectors));
    store_le<std::uint32_t>(sector, kFatSectors32, fat_sectors);
    store_le<std::uint32_t>(sector, kRootCluster, new_number(before_.root_cluster));
}

std::vector<TableImage::Piece> FatGrowth::boot_sectors(const block::Reader& part) const {
    const auto sector_at = [&](std::uint64_t number) {
        const ByteOffset at = number * before_.sector_bytes;
        return block::read_extent(part, {at, at + before_.sector_bytes});
    };
    const std::uint64_t reserved = before_.fat_begin / before_.sector_bytes;
    const Bytes boot = sector_at(0);
    if (!has_wide_entries()) {
        Bytes sector = boot;
        patch_boot_sector(sector);
        return {{0, std::move(sector)}};
    }
    const std::uint64_t information = load_le<std::uint16_t>(boot, kInformation),
                        backup = load_le<std::uint16_t>(boot, kBackup);
    std::vector<TableImage::Piece> pieces;
    const auto add_boot = [&](std::uint64_t number) {
        Bytes sector = sector_at(number);
        // What stands at the backup's place and is not the same volume is somebody else's.
        if (!std::equal(sector.begin() + 11, sector.begin() + 48, boot.begin() + 11)) return;
        patch_boot_sector(sector);
        pieces.push_back({number * before_.sector_bytes, std::move(sector)});
    };
    const auto add_information = [&](std::uint64_t number) {
        if (number == 0 || number >= reserved) return;
        Bytes sector = sector_at(number);
        if (load_le<std::uint32_t>(sector, kLeadMark) != kLeadMarkValue ||
            load_le<std::uint32_t>(sector, kInnerMark) != kInnerMarkValue)
            return;
        store_le<std::uint32_t>(sector, kFreeCount, static_cast<std::uint32_t>(after_.clusters - used_));
        store_le<std::uint32_t>(sector, kNextFree, kUnknown);
        pieces.push_back({number * before_.sector_bytes, std::move(sector)});
    };
    if (backup != 0 && backup < reserved) {
        add_boot(backup);
        add_information(backup + information);
    }
    add_information(information);
    add_boot(0);
    return pieces;
}

}  // namespace dupengine::layout

#pragma once
// Disks that other tools made, for tests of partition tables: an image file on tmpfs, what sfdisk says about
// it, and its bytes as a fake device. What sfdisk, sgdisk and partx say is the truth that our own reading is
// held against.

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "base/fd.h"
#include "layout/partition_table.h"
#include "tests/support/fake_devices.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

inline RunOptions fed_with(const std::string& input) {
    RunOptions options;
    options.input = input;
    return options;
}

class DiskImage {
  public:
    explicit DiskImage(std::uint64_t size_bytes) : path_(scratch_.sparse_file("disk", size_bytes)) {}
    const std::string& path() const { return path_; }

    DiskImage& sfdisk(const std::string& script, std::vector<std::string> options = {}) {
        std::vector<std::string> argv = {"sfdisk", "--quiet"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.push_back(path_);
        must_run(argv, fed_with(script));
        return *this;
    }
    DiskImage& sgdisk(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), "sgdisk");
        arguments.push_back(path_);
        must_run(arguments);
        return *this;
    }
    /// fdisk is the one tool that lays out 4096-byte sectors on a plain file.
    DiskImage& fdisk_4096(const std::string& keys) {
        must_run({"fdisk", "--sector-size", "4096", path_}, fed_with(keys));
        return *this;
    }
    std::string said_by_sgdisk_verify() const { return must_run({"sgdisk", "--verify", path_}); }

    std::shared_ptr<DiskBytes> bytes() const { return load_file(path_); }
    layout::PartitionTable table(std::uint32_t sector_bytes = 512) const {
        return layout::read_partition_table(MemoryDevice(bytes(), sector_bytes));
    }
    void write(const Bytes& content) const {
        const Fd fd = open_path(path_, O_WRONLY | O_TRUNC, Code::kInternal);
        pwrite_exact(fd.get(), 0, content, Code::kInternal, path_);
    }

  private:
    ScratchFolder scratch_;
    std::string path_;
};

/// One way of making a disk, for tests over many.
struct Recipe {
    const char* name;
    void (*make)(DiskImage& disk);
};
inline void PrintTo(const Recipe& recipe, std::ostream* out) {
    *out << recipe.name;
}

inline std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

/// One line a partition, as sfdisk sees them.
inline std::vector<std::string> partitions_by_sfdisk(const std::string& path) {
    const auto json = nlohmann::json::parse(must_run({"sfdisk", "--json", path}));
    std::vector<std::string> lines;
    for (const auto& p : json["partitiontable"].value("partitions", nlohmann::json::array())) {
        const std::string node = p["node"];
        lines.push_back(fmt::format("{} {}+{} {} {} '{}'{}", node.substr(path.size()),
                                    p["start"].get<std::uint64_t>(), p["size"].get<std::uint64_t>(),
                                    lower(p["type"]), lower(p.value("uuid", "")), p.value("name", ""),
                                    p.value("bootable", false) ? " active" : ""));
    }
    return lines;
}

/// The same lines of a table of ours.
inline std::vector<std::string> partitions_of(const layout::PartitionTable& table) {
    std::vector<std::string> lines;
    for (const layout::Partition& p : table.partitions) {
        const bool gpt = table.kind == layout::TableKind::kGpt;
        lines.push_back(fmt::format("{} {}+{} {} {} '{}'{}", p.number, p.extent.begin / table.sector_bytes,
                                    p.extent.size() / table.sector_bytes,
                                    gpt ? p.type_guid.text() : fmt::format("{:x}", p.mbr_type),
                                    gpt ? p.guid.text() : "", p.name, p.mbr_active ? " active" : ""));
    }
    return lines;
}

inline void put(const layout::TableImage& image, Bytes& disk) {
    for (const auto* pieces : {&image.primary, &image.backup})
        for (const auto& piece : *pieces)
            std::copy(piece.content.begin(), piece.content.end(),
                      disk.begin() + static_cast<std::ptrdiff_t>(piece.offset));
}

/// The offsets of bytes that differ, at most ten.
inline std::vector<std::size_t> differences(const Bytes& a, const Bytes& b) {
    std::vector<std::size_t> where;
    if (a.size() != b.size()) where.push_back(std::min(a.size(), b.size()));
    for (std::size_t i = 0; i < std::min(a.size(), b.size()) && where.size() < 10; ++i)
        if (a[i] != b[i]) where.push_back(i);
    return where;
}

/// Bytes of the disk after its table was read, all table sectors were wiped and the table was encoded again.
inline Bytes rewritten(const Bytes& disk, const layout::PartitionTable& table) {
    Bytes result = disk;
    for (block::Extent e : layout::table_extents(table, disk.size()))
        std::fill(result.begin() + static_cast<std::ptrdiff_t>(e.begin),
                  result.begin() + static_cast<std::ptrdiff_t>(e.end), std::byte{0});
    put(layout::encode_table(table, disk.size()), result);
    return result;
}

/// What reading gives: the table, or the message of the error (which must be one of damage).
struct Outcome {
    layout::PartitionTable table;
    std::string error;
};
inline Outcome try_read(const Bytes& content, std::uint32_t sector_bytes = 512) {
    auto bytes = std::make_shared<DiskBytes>(0);
    bytes->content = content;
    try {
        return {layout::read_partition_table(MemoryDevice(bytes, sector_bytes)), ""};
    } catch (const Error& e) {
        if (e.code() != Code::kIntegrity) throw;
        return {{}, e.what()};
    }
}

}  // namespace dupengine::test

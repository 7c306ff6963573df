#include "engine/held_boot.h"

#include <algorithm>

namespace dupengine::engine {
namespace {

using block::Extent;
using block::ExtentSet;
using Piece = layout::TableImage::Piece;

constexpr std::uint64_t kVersion = 1;

Extent place_of(const Piece& piece) {
    return {piece.offset, piece.offset + piece.content.size()};
}

void read_back(const BootStage& stage, const block::Target& target) {
    for (const Piece& piece : stage.pieces) {
        Bytes content(piece.content.size());
        target.read_from_medium(piece.offset, content);
        if (content != piece.content)
            throw_error(Code::kIntegrity, "{}: the {} does not read back as it was written", target.name(),
                        stage.name);
    }
}

BootStage part_of(const BootStage& stage, const ExtentSet& places) {
    BootStage part{stage.name, {}};
    for (const Piece& piece : stage.pieces)
        for (const Extent e : places.clipped_to(place_of(piece))) {
            const auto from = piece.content.begin() + static_cast<std::ptrdiff_t>(e.begin - piece.offset);
            part.pieces.push_back({e.begin, Bytes(from, from + static_cast<std::ptrdiff_t>(e.size()))});
        }
    return part;
}

class Writer {
  public:
    void number(std::uint64_t value) {
        bytes_.resize(bytes_.size() + 8);
        store_le<std::uint64_t>(bytes_, bytes_.size() - 8, value);
    }
    void bytes(std::span<const std::byte> value) {
        number(value.size());
        bytes_.insert(bytes_.end(), value.begin(), value.end());
    }
    Bytes take() { return std::move(bytes_); }

  private:
    Bytes bytes_;
};

class Parser {
  public:
    explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::uint64_t number() { return load_le<std::uint64_t>(take(8), 0); }
    // Each of them takes some bytes, so no more can be meant.
    std::uint64_t count() { return limited(number()); }
    std::span<const std::byte> bytes() { return take(number()); }
    bool is_over() const { return bytes_.empty(); }

  private:
    std::uint64_t limited(std::uint64_t value) const {
        if (value > bytes_.size()) throw_error(Code::kIntegrity, "held boot structures end before their end");
        return value;
    }
    std::span<const std::byte> take(std::uint64_t size) {
        const auto taken = bytes_.first(limited(size));
        bytes_ = bytes_.subspan(size);
        return taken;
    }
    std::span<const std::byte> bytes_;
};

HeldBoot decode_disk(Parser& parser) {
    HeldBoot disk{parser.number(), {}};
    for (std::uint64_t stages = parser.count(); stages > 0; --stages) {
        BootStage& stage = disk.boot.emplace_back();
        stage.name = as_text(parser.bytes());
        for (std::uint64_t pieces = parser.count(); pieces > 0; --pieces) {
            const ByteOffset offset = parser.number();
            const auto content = parser.bytes();
            if (offset > disk.size_bytes || content.size() > disk.size_bytes - offset)
                throw_error(Code::kIntegrity, "held boot structures pass the end of their disk");
            stage.pieces.push_back({offset, Bytes(content.begin(), content.end())});
        }
    }
    return disk;
}

}  // namespace

std::uint64_t write_boot_stages(const std::vector<BootStage>& boot, Verify verify, block::Target& target) {
    std::uint64_t verified = 0;
    for (const BootStage& stage : boot) {
        for (const Piece& piece : stage.pieces)
            target.write(piece.offset, piece.content);
        target.flush();
        if (verify == Verify::kNone) continue;
        read_back(stage, target);
        for (const Piece& piece : stage.pieces)
            verified += piece.content.size();
    }
    return verified;
}

SplitBoot split_boot(const std::vector<BootStage>& boot, const layout::PartitionTable& table) {
    ExtentSet partitions;
    for (const layout::Partition& p : table.partitions)
        partitions.insert(p.extent);
    SplitBoot split;
    for (const BootStage& stage : boot) {
        ExtentSet outside;
        for (const Piece& piece : stage.pieces)
            outside.insert(partitions.gaps_in(place_of(piece)));
        split.in_partitions.push_back(part_of(stage, partitions));
        split.outside.push_back(part_of(stage, outside));
    }
    return split;
}

Bytes encode_held_boot(const std::vector<HeldBoot>& disks) {
    Writer writer;
    writer.number(kVersion);
    writer.number(disks.size());
    for (const HeldBoot& disk : disks) {
        writer.number(disk.size_bytes);
        writer.number(disk.boot.size());
        for (const BootStage& stage : disk.boot) {
            writer.bytes(as_bytes(stage.name));
            writer.number(stage.pieces.size());
            for (const Piece& piece : stage.pieces) {
                writer.number(piece.offset);
                writer.bytes(piece.content);
            }
        }
    }
    return writer.take();
}

std::vector<HeldBoot> decode_held_boot(std::span<const std::byte> bytes) {
    Parser parser(bytes);
    if (const std::uint64_t version = parser.number(); version != kVersion)
        throw_error(Code::kIntegrity, "held boot structures have version {}, which is not known here",
                    version);
    std::vector<HeldBoot> disks;
    for (std::uint64_t count = parser.count(); count > 0; --count)
        disks.push_back(decode_disk(parser));
    if (!parser.is_over()) throw_error(Code::kIntegrity, "held boot structures do not end where they should");
    return disks;
}

std::shared_ptr<block::HeldBytes> held_bytes(const HeldBoot& held) {
    auto bytes = std::make_shared<block::HeldBytes>();
    for (const BootStage& stage : held.boot)
        for (const Piece& piece : stage.pieces)
            bytes->add(piece.offset, piece.content);
    return bytes;
}

HeldBoot with_changes(HeldBoot held, const block::HeldBytes& changed) {
    for (BootStage& stage : held.boot)
        for (Piece& piece : stage.pieces)
            changed.show(piece.offset, piece.content);
    return held;
}

ExtentSet places_of(const HeldBoot& held) {
    ExtentSet places;
    for (const BootStage& stage : held.boot)
        for (const Piece& piece : stage.pieces)
            places.insert(place_of(piece));
    return places;
}

}  // namespace dupengine::engine

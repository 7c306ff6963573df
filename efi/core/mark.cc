#include "efi/core/mark.h"

#include "efi/core/json.h"
#include "efi/core/node_profile.h"
#include "efi/core/sha256.h"

namespace dupengine::efi {
namespace {

constexpr TextView kMagic = "DUPENGINE-UNDONE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kVersionAt = 16, kSizeAt = 20, kDigestAt = 24, kTextAt = 56;

class Reading final : public JsonSink {
  public:
    Reading(Mark& mark, std::uint64_t size_bytes) : mark_(mark), size_bytes_(size_bytes) {}

    void text(TextView key, TextView value) override {
        if (key == "protected/entry/type_guid") has_type_ = take(guid_of(value), now_.partition.type);
        if (key == "protected/entry/guid") has_guid_ = take(guid_of(value), now_.partition.guid);
        if (key != "protected/entry/name") return;
        for (char c : value)
            good_ = good_ && c >= ' ' && c <= '~' && c != '\\';
        now_.name.add(value);
        good_ = good_ && !now_.name.cut();
    }
    void number(TextView key, std::uint64_t value) override {
        if (key == "size_bytes") is_of_this_disk_ = value == size_bytes_;
        if (key == "protected/begin") now_.partition.begin = value;
        if (key == "protected/end") now_.partition.end = value;
        if (key == "protected/entry/number") now_.partition.number = static_cast<unsigned>(value);
        if (key == "protected/entry/attributes") now_.attributes = value;
    }
    void end_of_object(TextView key) override {
        if (key != "protected") return;
        const Partition& partition = now_.partition;
        // A region that is no partition of a GPT cannot be put back into one.
        good_ = good_ && has_type_ && has_guid_ && partition.number >= 1 &&
                partition.number <= kMostPartitions && partition.begin < partition.end &&
                partition.end <= size_bytes_ && mark_.count < mark_.kept.size();
        if (good_) mark_.kept[mark_.count++] = now_;
        now_ = {};
        has_type_ = has_guid_ = false;
    }
    bool good() const { return good_ && is_of_this_disk_; }

  private:
    static bool take(std::optional<Guid> found, Guid& into) {
        if (found) into = *found;
        return found.has_value();
    }

    Mark& mark_;
    std::uint64_t size_bytes_;
    KeptPartition now_;
    bool has_type_ = false, has_guid_ = false, is_of_this_disk_ = false, good_ = true;
};

bool decode(Bytes room, std::uint64_t size_bytes, Mark& mark) {
    mark.count = 0;
    if (!as_text(room).starts_with(kMagic) || load_le<std::uint32_t>(room, kVersionAt) != kVersion)
        return false;
    const std::size_t size = load_le<std::uint32_t>(room, kSizeAt);
    if (size > room.size() - kTextAt) return false;
    const Bytes text = room.subspan(kTextAt, size);
    if (!equal(sha256(text), room.subspan(kDigestAt, sizeof(Sha256)))) return false;
    Reading reading(mark, size_bytes);
    return read_json(as_text(text), reading) && reading.good();
}

using JsonText = Text<6000>;

void add_guid(JsonText& text, const Guid& guid) {
    constexpr std::array<std::size_t, 16> kOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    constexpr TextView kDigits = "0123456789abcdef";
    text.add('"');
    for (std::size_t i = 0; i < kOrder.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text.add('-');
        const std::uint8_t byte = guid.bytes[kOrder[i]];
        text.add(kDigits[byte >> 4]).add(kDigits[byte & 15]);
    }
    text.add('"');
}

void add_kept(JsonText& text, const KeptPartition& kept) {
    text.add("{\"begin\":").number(kept.partition.begin).add(",\"end\":").number(kept.partition.end);
    text.add(",\"name\":\"profile (partition ")
        .number(kept.partition.number)
        .add(")\",\"entry\":{\"number\":");
    text.number(kept.partition.number).add(",\"type_guid\":");
    add_guid(text, kept.partition.type);
    text.add(",\"guid\":");
    add_guid(text, kept.partition.guid);
    text.add(",\"name\":\"").add(kept.name).add("\",\"attributes\":").number(kept.attributes);
    text.add(",\"mbr_type\":0,\"mbr_active\":false,\"mbr_logical\":false}}");
}

void put(Buffer into, std::size_t at, Bytes bytes) {
    __builtin_memcpy(into.subspan(at, bytes.size()).data(), bytes.data(), bytes.size());
}

Bytes bytes_of(TextView text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::uint64_t mark_room(std::uint32_t sector_bytes) {
    constexpr std::uint64_t kEntriesBytes = std::uint64_t{128} * 128;
    return sector_bytes + (kEntriesBytes + sector_bytes - 1) / sector_bytes * sector_bytes;
}

bool find_mark(Disk& disk, Buffer scratch, Mark& mark) {
    mark.count = 0;
    const std::uint64_t room = mark_room(disk.sector_bytes()), size = disk.size_bytes();
    if (size < disk.sector_bytes() + 2 * room) return false;
    const Buffer buffer = scratch.first(room);
    for (std::uint64_t at : {size - room, std::uint64_t{disk.sector_bytes()}})
        if (disk.read(at, buffer) && decode(buffer, size, mark)) return true;
    mark.count = 0;
    return false;
}

Bytes encode_mark(const Mark& mark, TextView source, std::uint64_t size_bytes, std::uint32_t sector_bytes,
                  Buffer into) {
    JsonText text;
    text.add("{\"source\":\"").add(source).add("\",\"started\":0,\"size_bytes\":").number(size_bytes);
    text.add(",\"protected\":[");
    for (std::size_t i = 0; i < mark.count; ++i) {
        if (i > 0) text.add(',');
        add_kept(text, mark.kept[i]);
    }
    text.add("]}");
    const std::size_t room = mark_room(sector_bytes);
    if (text.cut() || text.view().size() + kTextAt > room || room > into.size()) return {};
    const Buffer bytes = into.first(room);
    __builtin_memset(bytes.data(), 0, bytes.size());
    const std::array<std::uint32_t, 2> numbers = {kVersion, static_cast<std::uint32_t>(text.view().size())};
    put(bytes, 0, bytes_of(kMagic));
    put(bytes, kVersionAt, std::as_bytes(std::span(numbers)));
    put(bytes, kDigestAt, sha256(bytes_of(text)));
    put(bytes, kTextAt, bytes_of(text));
    return bytes;
}

}  // namespace dupengine::efi

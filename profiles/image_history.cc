#include "profiles/image_history.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/aligned_buffer.h"
#include "codec/digest.h"

namespace dupengine::profiles {
namespace {

constexpr std::string_view kMagic = "DUPENGINE-IMAGES";
constexpr std::uint32_t kVersion = 2;

enum : std::size_t {
    kVersionAt = 16,
    kCountAt = 20,
    kGenerationAt = 24,
    kDigestAt = 32,
    kEntriesAt = 64,
    kEntryBytes = 104
};
static_assert(kEntriesAt + kHistoryEntryLimit * kEntryBytes <= kHistoryRecordBytes);

bool has_room(block::Extent region) {
    return region.size() >= kHistoryEnd;
}

ByteOffset place_of(block::Extent region, unsigned record) {
    return region.begin + kStoreMinimumBytes + record * kHistoryRecordBytes;
}

codec::Sha256 digest_of(std::span<const std::byte> record) {
    Bytes bytes(record.begin(), record.end());
    std::fill_n(bytes.begin() + kDigestAt, std::tuple_size_v<codec::Sha256>, std::byte{0});
    return codec::sha256(bytes);
}

void write_record(block::Target& target, ByteOffset place, std::span<const std::byte> record) {
    AlignedBuffer buffer(kHistoryRecordBytes);
    std::copy(record.begin(), record.end(), buffer.all().begin());
    target.write(place, buffer.all());
    target.flush();
    target.read_from_medium(place, buffer.all());
    if (!std::equal(record.begin(), record.end(), buffer.all().begin()))
        throw_error(Code::kIntegrity, "{}: the history of images came back different", target.name());
}

std::optional<std::string> decode_name(std::span<const std::byte> field) {
    const std::string_view text = as_text(field);
    const std::size_t end = std::min(text.find('\0'), text.size());
    if (end == 0 || !is_zero(field.subspan(end))) return std::nullopt;
    return std::string(text.substr(0, end));
}

}  // namespace

bool ImageHistory::Entry::note_tried() {
    return std::exchange(tried, version) != version;
}

bool ImageHistory::Entry::note_came_up() {
    const bool was_bad = failed == version, was_tried = tried == version;
    if (was_bad) failed = 0;
    if (was_tried) tried = 0;
    return std::exchange(came_up, version) != version || was_bad || was_tried;
}

bool ImageHistory::Entry::note_failed() {
    if (tried != version || is_bad(version)) return false;
    failed = version;
    if (came_up == version) came_up = 0;
    return true;
}

const ImageHistory::Entry* ImageHistory::find(const std::string& name) const {
    const auto found = std::ranges::find(entries, name, &Entry::name);
    return found == entries.end() ? nullptr : &*found;
}

std::optional<std::uint64_t> ImageHistory::version_of(const std::string& name) const {
    const Entry* entry = find(name);
    return entry == nullptr ? std::nullopt : std::optional(entry->version);
}

void ImageHistory::remember(const std::string& name, std::uint64_t version, std::int64_t when) {
    const Entry* before = find(name);
    Entry entry = before == nullptr ? Entry{} : *before;
    entry.name = name;
    entry.version = version;
    entry.when = when;
    std::erase_if(entries, [&](const Entry& old) { return old.name == name; });
    entries.insert(entries.begin(), std::move(entry));
    if (entries.size() > kHistoryEntryLimit) entries.resize(kHistoryEntryLimit);
}

Bytes encode_history(const ImageHistory& history) {
    Bytes bytes(kHistoryRecordBytes);
    const std::span<std::byte> all(bytes);
    const auto put = [&](std::size_t at, std::string_view text) {
        std::copy_n(as_bytes(text).begin(), text.size(), all.begin() + static_cast<std::ptrdiff_t>(at));
    };
    if (history.entries.size() > kHistoryEntryLimit)
        throw_error(Code::kInternal, "a history of {} images", history.entries.size());
    put(0, kMagic);
    store_le<std::uint32_t>(all, kVersionAt, kVersion);
    store_le<std::uint32_t>(all, kCountAt, static_cast<std::uint32_t>(history.entries.size()));
    store_le<std::uint64_t>(all, kGenerationAt, history.generation);
    std::size_t at = kEntriesAt;
    for (const ImageHistory::Entry& entry : history.entries) {
        if (entry.name.empty() || entry.name.size() > kHistoryNameLimit)
            throw_error(Code::kInternal, "an image name of {} bytes", entry.name.size());
        put(at, entry.name);
        std::size_t field = at + kHistoryNameLimit;
        for (const std::uint64_t value : {entry.version, static_cast<std::uint64_t>(entry.when), entry.tried,
                                          entry.came_up, entry.failed}) {
            store_le<std::uint64_t>(all, field, value);
            field += sizeof value;
        }
        at += kEntryBytes;
    }
    put(kDigestAt, as_text(digest_of(bytes)));
    return bytes;
}

std::optional<ImageHistory> decode_history(std::span<const std::byte> bytes) {
    if (bytes.size() != kHistoryRecordBytes || as_text(bytes.first(kMagic.size())) != kMagic ||
        load_le<std::uint32_t>(bytes, kVersionAt) != kVersion)
        return std::nullopt;
    const codec::Sha256 digest = digest_of(bytes);
    const auto count = load_le<std::uint32_t>(bytes, kCountAt);
    ImageHistory history;
    history.generation = load_le<std::uint64_t>(bytes, kGenerationAt);
    if (!std::equal(digest.begin(), digest.end(), bytes.begin() + kDigestAt) || count > kHistoryEntryLimit ||
        history.generation == 0 || history.generation == std::numeric_limits<std::uint64_t>::max())
        return std::nullopt;
    for (std::size_t i = 0; i < count; ++i) {
        const auto entry = bytes.subspan(kEntriesAt + i * kEntryBytes, kEntryBytes);
        const auto name = decode_name(entry.first(kHistoryNameLimit));
        if (!name) return std::nullopt;
        const auto number = [&](std::size_t field) {
            return load_le<std::uint64_t>(entry, kHistoryNameLimit + field * sizeof(std::uint64_t));
        };
        history.entries.push_back(
            {*name, number(0), static_cast<std::int64_t>(number(1)), number(2), number(3), number(4)});
    }
    return history;
}

std::optional<ImageHistory> read_history(const block::Reader& device, block::Extent region) {
    if (!has_room(region)) return std::nullopt;
    ImageHistory newest;
    std::string doubt;
    unsigned good = 0;
    for (unsigned record = 0; record < 2; ++record) {
        AlignedBuffer buffer(kHistoryRecordBytes);
        try {
            device.read_from_medium(place_of(region, record), buffer.all());
        } catch (const Error& e) {
            doubt = e.what();
            continue;
        }
        auto found = decode_history(buffer.all());
        if (!found) {
            if (as_text(buffer.all().first(kMagic.size())) == kMagic) doubt = "a record is damaged";
            continue;
        }
        ++good;
        if (found->generation <= newest.generation) continue;
        newest = std::move(*found);
        newest.record = record;
    }
    // Both are written the first time.
    if (doubt.empty() && good == 1) doubt = "a record was overwritten";
    newest.doubt = std::move(doubt);
    return newest;
}

void write_history(block::Target& target, block::Extent region, ImageHistory history) {
    if (!has_room(region))
        throw_error(Code::kRefused, "{}: the profile partition has no room for a history of images",
                    target.name());
    const bool writes_both = history.generation == 0 || !history.doubt.empty();
    ++history.generation;
    const Bytes record = encode_history(history);
    write_record(target, place_of(region, 1 - history.record), record);
    if (writes_both) write_record(target, place_of(region, history.record), record);
}

}  // namespace dupengine::profiles

#include "layout/luks.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "codec/digest.h"

namespace dupengine::layout {
namespace {

using block::Extent;
using nlohmann::json;

constexpr std::string_view kMagic("LUKS\xba\xbe", 6), kSecondMagic("SKUL\xba\xbe", 6);
constexpr std::uint64_t kLuks1Sector = 512;

std::string text_field(std::span<const std::byte> bytes, std::size_t offset, std::size_t size) {
    const std::string_view text = as_text(bytes.subspan(offset, size));
    return std::string(text.substr(0, text.find('\0')));
}

// What a message or a comparison may show of a disk.
std::string plain_field(std::span<const std::byte> bytes, std::size_t offset, std::size_t size) {
    std::string text = text_field(bytes, offset, size);
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (!plain || text.empty()) throw_error(Code::kIntegrity, "a name in its header is not text");
    return text;
}

// The format's fields (table 1 of its description) are big-endian.
LuksHeader read_luks1(const block::Reader& part) {
    constexpr std::size_t kHeader = 592, kCipher = 8, kMode = 40, kPayload = 104, kUuid = 168;
    const Bytes header = block::read_extent(part, {0, kHeader});
    LuksHeader found;
    found.version = 1;
    found.cipher = plain_field(header, kCipher, 32) + "-" + plain_field(header, kMode, 32);
    found.uuid = plain_field(header, kUuid, 40);
    const std::uint64_t begin = load_be<std::uint32_t>(header, kPayload) * kLuks1Sector;
    if (begin < kHeader || begin >= part.geometry().size_bytes)
        throw_error(Code::kIntegrity, "its payload does not lie behind its header");
    found.payload = {begin, align_down(part.geometry().size_bytes, kLuks1Sector)};
    return found;
}

// The binary header, 4096 bytes, in front of each copy of the text.
struct Luks2Copy {
    std::uint64_t size_bytes = 0;
    std::uint64_t sequence = 0;
    std::string uuid;
    std::string text;
};

Luks2Copy read_luks2_copy(const block::Reader& part, ByteOffset at, std::string_view magic) {
    constexpr std::size_t kBinary = 4096, kSize = 8, kSequence = 16, kAlgorithm = 72, kUuid = 168,
                          kOffset = 256, kChecksum = 448, kChecksumSize = 64;
    constexpr std::uint64_t kSmallest = 16 * kKiB, kLargest = 4 * kMiB;  // the sizes that the format allows
    const std::uint64_t end = checked_add(at, kBinary, "its header");
    if (end > part.geometry().size_bytes) throw_error(Code::kIntegrity, "its header passes the end");
    Bytes bytes = block::read_extent(part, {at, end});
    if (as_text(bytes).substr(0, magic.size()) != magic || load_be<std::uint16_t>(bytes, 6) != 2)
        throw_error(Code::kIntegrity, "one of the two copies of its header is missing");
    Luks2Copy copy;
    copy.size_bytes = load_be<std::uint64_t>(bytes, kSize);
    if (copy.size_bytes < kSmallest || copy.size_bytes > kLargest || !std::has_single_bit(copy.size_bytes) ||
        load_be<std::uint64_t>(bytes, kOffset) != at || copy.size_bytes > part.geometry().size_bytes - at)
        throw_error(Code::kIntegrity, "its header does not say its size and place");
    if (text_field(bytes, kAlgorithm, 32) != "sha256")
        throw_error(Code::kIntegrity, "its header has an unknown kind of checksum");
    copy.sequence = load_be<std::uint64_t>(bytes, kSequence);
    copy.uuid = plain_field(bytes, kUuid, 40);
    bytes = block::read_extent(part, {at, at + copy.size_bytes});
    codec::Sha256 stored;
    std::copy_n(bytes.begin() + kChecksum, stored.size(), stored.begin());
    std::fill_n(bytes.begin() + kChecksum, kChecksumSize, std::byte{0});
    if (codec::sha256(bytes) != stored) throw_error(Code::kIntegrity, "the checksum of its header is wrong");
    copy.text = text_field(bytes, kBinary, bytes.size() - kBinary);
    return copy;
}

// Numbers of 64 bits are strings in the text.
std::uint64_t number_of(const json& object, const char* name) {
    const auto at = object.find(name);
    std::uint64_t value = 0;
    if (at != object.end() && at->is_string()) {
        const auto& text = at->get_ref<const std::string&>();
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
        if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) return value;
    }
    throw_error(Code::kIntegrity, "the \"{}\" of its segment is not a number", name);
}

const json& object_of(const json& object, const char* name) {
    const auto at = object.find(name);
    if (at == object.end() || !at->is_object()) throw_error(Code::kIntegrity, "it says no \"{}\"", name);
    return *at;
}

void refuse_requirements(const json& config) {
    const auto requirements = config.find("requirements");
    if (requirements == config.end()) return;
    const auto mandatory = requirements->is_object() ? requirements->find("mandatory") : requirements->end();
    if (!requirements->is_object() || (mandatory != requirements->end() && !mandatory->empty()))
        throw_error(Code::kIntegrity,
                    "it has requirements that are not understood (a reencryption that was begun?)");
}

std::uint32_t sector_bytes_of(const json& segment) {
    const auto at = segment.find("sector_size");
    const bool known = at != segment.end() && at->is_number_unsigned() &&
                       (*at == 512u || *at == 1024u || *at == 2048u || *at == 4096u);
    if (!known) throw_error(Code::kIntegrity, "the \"sector_size\" of its segment is not one");
    return at->get<std::uint32_t>();
}

void read_segment(const json& segments, std::uint64_t part_bytes, LuksHeader& found) {
    if (segments.size() != 1 || !segments.contains("0") || !segments["0"].is_object())
        throw_error(Code::kIntegrity, "its payload is in several segments");
    const json& segment = segments["0"];
    if (segment.value("type", json()) != "crypt" || segment.contains("integrity"))
        throw_error(Code::kIntegrity, "its payload is not encrypted alone");
    if (segment.contains("flags") && !segment["flags"].empty())
        throw_error(Code::kIntegrity, "its segment has flags that are not understood");
    const auto cipher = segment.find("encryption");
    if (cipher == segment.end() || !cipher->is_string())
        throw_error(Code::kIntegrity, "its segment names no cipher");
    const auto& name = cipher->get_ref<const std::string&>();
    found.cipher = plain_field(as_bytes(name), 0, name.size());
    found.sector_bytes = sector_bytes_of(segment);
    found.iv_offset = number_of(segment, "iv_tweak");
    const std::uint64_t begin = number_of(segment, "offset");
    const bool to_the_end = segment.value("size", json()) == "dynamic";
    if (begin >= part_bytes) throw_error(Code::kIntegrity, "its payload begins behind its end");
    const std::uint64_t size =
        to_the_end ? align_down(part_bytes - begin, found.sector_bytes) : number_of(segment, "size");
    if (size > part_bytes - begin || begin % kLuks1Sector != 0 || size % found.sector_bytes != 0)
        throw_error(Code::kIntegrity, "its payload does not fit");
    found.payload = {begin, begin + size};
}

LuksHeader read_luks2(const block::Reader& part) {
    const Luks2Copy first = read_luks2_copy(part, 0, kMagic);
    const Luks2Copy second = read_luks2_copy(part, first.size_bytes, kSecondMagic);
    // cryptsetup mends them when it opens the container next. Which one would win is not ours to say.
    if (first.sequence != second.sequence || first.text != second.text || first.uuid != second.uuid)
        throw_error(Code::kIntegrity, "the two copies of its header differ");
    const json text = json::parse(first.text, nullptr, false);
    if (!text.is_object()) throw_error(Code::kIntegrity, "its header is not JSON");
    refuse_requirements(object_of(text, "config"));
    LuksHeader found;
    found.version = 2;
    found.uuid = first.uuid;
    read_segment(object_of(text, "segments"), part.geometry().size_bytes, found);
    if (found.payload.begin < 2 * first.size_bytes)
        throw_error(Code::kIntegrity, "its payload does not lie behind its header");
    return found;
}

}  // namespace

LuksHeader read_luks_header(const block::Reader& part) {
    constexpr std::uint64_t kLeast = 4096;
    if (part.geometry().size_bytes < kLeast) throw_error(Code::kIntegrity, "too small for a header");
    const Bytes begin = block::read_extent(part, {0, 8});
    if (as_text(begin).substr(0, kMagic.size()) != kMagic)
        throw_error(Code::kIntegrity, "the first copy of its header is missing");
    switch (load_be<std::uint16_t>(begin, 6)) {
        case 1:
            return read_luks1(part);
        case 2:
            return read_luks2(part);
        default:
            throw_error(Code::kIntegrity, "an unknown version of its format");
    }
}

}  // namespace dupengine::layout

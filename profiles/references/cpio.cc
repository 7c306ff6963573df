#include "profiles/references/cpio.h"

#include <sys/stat.h>

#include <array>
#include <charconv>

#include "base/error.h"

namespace dupengine::profiles {
namespace {

constexpr std::size_t kMagicBytes = 6, kFieldBytes = 8, kFields = 13;
constexpr std::size_t kHeaderBytes = kMagicBytes + kFields * kFieldBytes;
constexpr std::string_view kTrailer = "TRAILER!!!";
enum Field {
    kInode,
    kMode,
    kUid,
    kGid,
    kLinks,
    kTime,
    kSize,
    kDevMajor,
    kDevMinor,
    kRMajor,
    kRMinor,
    kNameSize,
    kCheck
};

using Fields = std::array<std::uint32_t, kFields>;

bool parse_fields(std::string_view header, Fields& fields) {
    for (std::size_t i = 0; i < kFields; ++i) {
        const char* begin = header.data() + kMagicBytes + i * kFieldBytes;
        const auto [end, error] = std::from_chars(begin, begin + kFieldBytes, fields[i], 16);
        if (error != std::errc() || end != begin + kFieldBytes) return false;
    }
    return true;
}

bool has_magic(std::string_view bytes) {
    return bytes.substr(0, 6) == "070701" || bytes.substr(0, 6) == "070702";
}

std::string plain_name(std::string name) {
    for (;;) {
        if (name.rfind("./", 0) == 0)
            name.erase(0, 2);
        else if (name.rfind('/', 0) == 0)
            name.erase(0, 1);
        else
            return name;
    }
}

void append_member(std::string& archive, const CpioMember& member, std::uint32_t inode) {
    archive +=
        fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
                    inode, member.mode, member.uid, member.gid, 1, member.mtime, member.content.size(), 0, 0,
                    0, 0, member.name.size() + 1, 0);
    archive += member.name;
    archive += '\0';
    archive.resize((archive.size() + 3) / 4 * 4);
    archive += member.content;
    archive.resize((archive.size() + 3) / 4 * 4);
}

}  // namespace

bool CpioReader::fill(std::size_t bytes) {
    while (buffer_.size() - at_ < bytes) {
        std::string piece = source_();
        if (piece.empty()) return false;
        buffer_.erase(0, at_);
        at_ = 0;
        buffer_ += piece;
    }
    return true;
}

std::string CpioReader::get(std::size_t bytes, const char* what) {
    if (!fill(bytes)) throw_error(Code::kIntegrity, "the archive ends inside {} at byte {}", what, offset_);
    std::string text = buffer_.substr(at_, bytes);
    at_ += bytes;
    offset_ += bytes;
    return text;
}

void CpioReader::skip_padding() {
    while (offset_ % 4 != 0 && fill(1)) {
        ++at_;
        ++offset_;
    }
}

bool CpioReader::at_end() {
    while (fill(1) && buffer_[at_] == '\0') {
        ++at_;
        ++offset_;
    }
    return !fill(1);
}

CpioReader::Found CpioReader::next(CpioMember& member) {
    for (;;) {
        if (!inside_ && at_end()) return Found::kEnd;
        if (!fill(1))
            throw_error(Code::kIntegrity, "the archive ends at byte {} without its trailer", offset_);
        if (!fill(kMagicBytes) || !has_magic(std::string_view(buffer_).substr(at_))) {
            if (inside_) throw_error(Code::kIntegrity, "no member of an archive at byte {}", offset_);
            return Found::kOther;
        }
        Fields fields{};
        if (!parse_fields(get(kHeaderBytes, "a header"), fields))
            throw_error(Code::kIntegrity, "a member's header before byte {} is no number", offset_);
        if (fields[kNameSize] == 0 || fields[kNameSize] > kNameLimit || fields[kSize] > kMemberLimit)
            throw_error(Code::kIntegrity, "a member before byte {} says it has {} bytes and a name of {}",
                        offset_, fields[kSize], fields[kNameSize]);
        inside_ = true;
        std::string name = get(fields[kNameSize], "a name");
        name.pop_back();
        skip_padding();
        if (name == kTrailer) {
            inside_ = false;
            continue;
        }
        member = {plain_name(std::move(name)), fields[kMode], fields[kUid], fields[kGid], fields[kTime], {}};
        member.content = get(fields[kSize], "a member");
        skip_padding();
        return Found::kMember;
    }
}

std::string encode_cpio(const std::vector<CpioMember>& members) {
    std::string archive;
    std::uint32_t inode = 0;
    for (const CpioMember& member : members)
        append_member(archive, member, ++inode);
    append_member(archive, {std::string(kTrailer), 0, 0, 0, 0, {}}, 0);
    return archive;
}

bool is_cpio_header(std::string_view bytes, std::size_t offset) {
    Fields fields{};
    const std::string_view header = bytes.substr(std::min(offset, bytes.size()), kHeaderBytes);
    return header.size() == kHeaderBytes && has_magic(header) && parse_fields(header, fields);
}

}  // namespace dupengine::profiles

#include "profiles/references/initramfs_members.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>

#include "base/bytes.h"

namespace dupengine::profiles {
namespace {

// What libarchive can decompress and the kernel too (usr/Kconfig, lib/decompress.c).
bool is_compressed(std::string_view bytes) {
    using namespace std::string_view_literals;
    for (const std::string_view magic :
         {"\x1f\x8b"sv,
          "\xfd"
          "7zXZ\0"sv,
          "\x28\xb5\x2f\xfd"sv, "\x89LZO"sv, "\x02\x21\x4c\x18"sv, "\x5d\0\0"sv, "BZh"sv})
        if (bytes.substr(0, magic.size()) == magic) return true;
    return false;
}

// Where the zstd frames at the start of `bytes` end (RFC 8878, 3.1.1). libarchive's reader takes padding
// behind the last one for a damaged frame; the others' readers do not. Whatever is no frame is left to it to
// complain about.
std::size_t end_of_zstd(std::string_view bytes) {
    const auto data = as_bytes(bytes);
    std::size_t at = 0;
    try {
        while (at < bytes.size() && load_le<std::uint32_t>(data, at) == 0xfd2fb528) {
            const auto descriptor = load_le<std::uint8_t>(data, at + 4);
            const bool single_segment = (descriptor & 0x20) != 0, has_checksum = (descriptor & 4) != 0;
            constexpr std::size_t kDictionaryBytes[] = {0, 1, 2, 4}, kSizeBytes[] = {0, 2, 4, 8};
            std::size_t size_bytes = kSizeBytes[descriptor >> 6];
            if (single_segment && size_bytes == 0) size_bytes = 1;
            std::size_t next =
                at + 5 + (single_segment ? 0 : 1) + kDictionaryBytes[descriptor & 3] + size_bytes;
            for (bool last = false; !last;) {
                const std::uint32_t header = load_le<std::uint16_t>(data, next) |
                                             static_cast<std::uint32_t>(load_le<std::uint8_t>(data, next + 2))
                                                 << 16;
                last = (header & 1) != 0;
                const bool one_byte_repeated = (header >> 1 & 3) == 1;
                next += 3 + (one_byte_repeated ? 1 : header >> 3);
            }
            at = next + (has_checksum ? 4 : 0);
        }
    } catch (const Error&) {
        return bytes.size();  // cut short
    }
    return at == 0 ? bytes.size() : std::min(at, bytes.size());
}

// Where the blocks of lz4's legacy format end, which is the one that the kernel knows: a magic, then size and
// block again and again (lz4_Frame_format.md, "Legacy frame"). A size of zero is padding.
std::size_t end_of_lz4(std::string_view bytes) {
    constexpr std::uint32_t kMagic = 0x184c2102;
    const auto data = as_bytes(bytes);
    std::size_t at = 4;
    while (bytes.size() >= at + 4) {
        const auto size = load_le<std::uint32_t>(data, at);
        if (size == 0) break;
        at += 4 + (size == kMagic ? 0 : static_cast<std::size_t>(size));
    }
    return std::min(at, bytes.size());
}

// Where an xz stream ends: behind the first footer that is one (xz-file-format.txt, 2.1.2). libarchive takes
// anything but padding or another stream behind it for damage.
std::size_t end_of_xz(std::string_view bytes) {
    constexpr std::size_t kFooterBytes = 12, kFlagsInHeader = 6;
    const auto data = as_bytes(bytes);
    for (std::size_t at = bytes.find("YZ", kFooterBytes); at != std::string_view::npos;
         at = bytes.find("YZ", at + 1)) {
        const std::size_t end = at + 2, footer = end - kFooterBytes;
        if (end % 4 == 0 && load_le<std::uint32_t>(data, footer) == crc32(data.subspan(footer + 4, 6)) &&
            bytes.substr(footer + 8, 2) == bytes.substr(kFlagsInHeader, 2))
            return end;
    }
    return bytes.size();
}

ByteSource plain_source(std::string_view bytes) {
    constexpr std::size_t kPiece = 1u << 20;
    return [bytes]() mutable {
        std::string piece(bytes.substr(0, kPiece));
        bytes.remove_prefix(piece.size());
        return piece;
    };
}

constexpr std::uint64_t kUnpackedLimit = 4ull << 30;  // a small file may claim to hold any amount

[[noreturn]] void throw_archive(archive* handle) {
    const char* reason = ::archive_error_string(handle);
    throw_error(Code::kIntegrity, "cannot be decompressed: {}", reason != nullptr ? reason : "damaged");
}

// One compressed part at the start of some bytes. Others may follow it, compressed in any way or not at all.
class Compressed {
  public:
    Compressed(std::string_view file, std::size_t at) : bytes_(file.substr(at)) {
        using namespace std::string_view_literals;
        const std::string_view bytes = bytes_;
        // The readers of these formats do not stop by themselves at what is no part of it.
        if (bytes.substr(0, 4) == "\x02\x21\x4c\x18"sv)
            bytes_ = bytes.substr(0, end_of_lz4(bytes.substr(0, next_plain_archive(file, at) - at)));
        else if (bytes.substr(0, 4) == "\x28\xb5\x2f\xfd"sv)
            bytes_ = bytes.substr(0, end_of_zstd(bytes));
        else if (bytes.substr(0, 6) == "\xfd\x37zXZ\0"sv)
            bytes_ = bytes.substr(0, end_of_xz(bytes));
        else
            stops_by_itself_ = true;
        handle_.reset(::archive_read_new(), ::archive_read_free);
        if (!handle_) throw std::bad_alloc();
        ::archive_read_support_filter_all(handle_.get());
        ::archive_read_support_format_raw(handle_.get());
        archive_entry* entry = nullptr;
        if (::archive_read_open_memory(handle_.get(), bytes_.data(), bytes_.size()) != ARCHIVE_OK ||
            ::archive_read_next_header(handle_.get(), &entry) != ARCHIVE_OK)
            throw_archive(handle_.get());
    }

    ByteSource source() const {
        return [handle = handle_, total = std::uint64_t{0}]() mutable {
            const void* block = nullptr;
            std::size_t size = 0;
            la_int64_t offset = 0;
            do {
                const int status = ::archive_read_data_block(handle.get(), &block, &size, &offset);
                if (status == ARCHIVE_EOF) return std::string();
                if (status != ARCHIVE_OK && status != ARCHIVE_WARN) throw_archive(handle.get());
            } while (size == 0);
            if ((total += size) > kUnpackedLimit)
                throw_error(Code::kIntegrity, "unpacks to more than {} bytes", kUnpackedLimit);
            return std::string(static_cast<const char*>(block), size);
        };
    }

    /// How long the part is. Known once everything has been read from the source.
    std::size_t size() const {
        if (!stops_by_itself_) return bytes_.size();
        const la_int64_t taken = ::archive_filter_bytes(handle_.get(), -1);
        if (taken <= 0 || static_cast<std::uint64_t>(taken) > bytes_.size())
            throw_error(Code::kIntegrity, "cannot be decompressed: it has no end");
        return static_cast<std::size_t>(taken);
    }

  private:
    // A header is 110 given characters on a multiple of four, which compressed bytes do not make by chance.
    static std::size_t next_plain_archive(std::string_view file, std::size_t begin) {
        for (std::size_t at = file.find("07070", begin); at != std::string_view::npos;
             at = file.find("07070", at + 1))
            if (at % 4 == 0 && is_cpio_header(file, at)) return at;
        return file.size();
    }

    std::string_view bytes_;
    std::shared_ptr<archive> handle_;
    bool stops_by_itself_ = false;
};

// True if all of it was archives.
bool read_archives(CpioReader& reader, const MemberTaker& take) {
    CpioMember member;
    for (;;)
        switch (reader.next(member)) {
            case CpioReader::Found::kMember:
                take(member);
                break;
            case CpioReader::Found::kEnd:
                return true;
            case CpioReader::Found::kOther:
                return false;
        }
}

}  // namespace

bool may_be_initramfs(std::string_view file) {
    return is_cpio_header(file, 0) || is_compressed(file);
}

bool take_initramfs_members(std::string_view file, const MemberTaker& take) {
    for (std::size_t at = 0; (at = file.find_first_not_of('\0', at)) != std::string_view::npos;) {
        if (is_compressed(file.substr(at))) {
            const Compressed part(file, at);
            CpioReader reader(part.source());
            const bool archives = read_archives(reader, take);
            if (!archives && at == 0 && reader.offset() == 0)
                return false;  // something else that is compressed
            if (!archives) throw_error(Code::kIntegrity, "the part at byte {} holds no archive", at);
            at += part.size();
            continue;
        }
        CpioReader reader(plain_source(file.substr(at)));
        if (read_archives(reader, take)) break;
        if (reader.offset() == 0)
            throw_error(Code::kIntegrity, "neither an archive nor compressed at byte {}", at);
        at += reader.offset();
    }
    return true;
}

std::string addition_to_initramfs(std::string_view file, const std::vector<CpioMember>& members) {
    // The kernel wants an archive on a multiple of four, and lz4 wants a zero word to see the end of its
    // blocks.
    return std::string((file.size() + 3) / 4 * 4 - file.size() + 4, '\0') + encode_cpio(members);
}

}  // namespace dupengine::profiles

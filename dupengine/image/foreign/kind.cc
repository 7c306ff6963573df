#include "image/foreign/kind.h"

#include <array>
#include <string_view>

namespace dupengine::image {
namespace {

using namespace std::string_view_literals;

struct Magic {
    DiskForm form;
    std::string_view bytes;
};
// RFC 1952; xz-file-format.txt, 2.1.1.1; RFC 8878, 3.1.1; bzip2 (the digit behind it is the block size);
// qcow2.txt of QEMU.
constexpr std::array<Magic, 5> kMagics{{{DiskForm::kGzip, "\x1f\x8b\x08"sv},
                                        {DiskForm::kXz,
                                         "\xfd"
                                         "7zXZ\0"sv},
                                        {DiskForm::kZstd, "\x28\xb5\x2f\xfd"sv},
                                        {DiskForm::kBzip2, "BZh"sv},
                                        {DiskForm::kQcow2, "QFI\xfb"sv}}};

DiskForm form_by_magic(std::string_view begin) {
    for (const Magic& magic : kMagics)
        if (begin.starts_with(magic.bytes)) return magic.form;
    return DiskForm::kRaw;
}

// A boot sector, or the header of a GPT behind one.
bool is_like_a_disk(std::string_view begin) {
    const auto has = [&](std::size_t at, std::string_view bytes) {
        return begin.size() >= at + bytes.size() && begin.substr(at, bytes.size()) == bytes;
    };
    return has(510, "\x55\xaa"sv) || has(512, "EFI PART") || has(4096, "EFI PART");
}

}  // namespace

const char* form_name(DiskForm form) {
    switch (form) {
        case DiskForm::kRaw:
            return "raw";
        case DiskForm::kGzip:
            return "gzip";
        case DiskForm::kXz:
            return "xz";
        case DiskForm::kZstd:
            return "zstd";
        case DiskForm::kBzip2:
            return "bzip2";
        case DiskForm::kQcow2:
            return "qcow2";
    }
    return "?";
}

DiskForm tell_form(std::span<const std::byte> begin, SourceFormat format, const std::string& name) {
    if (format == SourceFormat::kRaw) return DiskForm::kRaw;
    const DiskForm form = form_by_magic(as_text(begin));
    const bool is_compressed = form != DiskForm::kRaw && form != DiskForm::kQcow2;
    if ((format == SourceFormat::kQcow2 && form != DiskForm::kQcow2) ||
        (format == SourceFormat::kCompressed && !is_compressed))
        throw_error(Code::kRefused, "{}: does not begin like what --source-format says", name);
    if (format == SourceFormat::kAuto && form != DiskForm::kRaw && is_like_a_disk(as_text(begin)))
        throw_error(Code::kRefused,
                    "{}: begins like {}, and like a raw disk as well; say with --source-format which of them "
                    "it is",
                    name, form_name(form));
    return form;
}

}  // namespace dupengine::image

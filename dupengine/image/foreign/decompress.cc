#include "image/foreign/decompress.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

namespace dupengine::image {
namespace {

class Unarchived final : public Decompressed {
  public:
    Unarchived(const ForeignFile& file, DiskForm form)
        : name_(file.name),
          form_(form),
          fd_(open_path(file.path(), O_RDONLY, Code::kRefused)),
          handle_(::archive_read_new(), ::archive_read_free) {
        constexpr std::size_t kReadBytes = 256 * kKiB;
        archive* handle = handle_.get();
        if (handle == nullptr || ::archive_read_support_format_raw(handle) != ARCHIVE_OK ||
            add_filter(handle) != ARCHIVE_OK)
            throw_error(Code::kInternal, "libarchive cannot unpack {}", form_name(form_));
        archive_entry* entry = nullptr;
        if (::archive_read_open_fd(handle, fd_.get(), kReadBytes) != ARCHIVE_OK ||
            ::archive_read_next_header(handle, &entry) != ARCHIVE_OK)
            refuse();
    }

    std::size_t read(std::span<std::byte> buffer) override {
        std::size_t done = 0;
        while (done < buffer.size()) {
            const la_ssize_t n =
                ::archive_read_data(handle_.get(), buffer.data() + done, buffer.size() - done);
            if (n < 0) refuse();
            if (n == 0) break;
            done += static_cast<std::size_t>(n);
        }
        if (done < buffer.size()) refuse_if_not_at_end();
        return done;
    }

  private:
    // Just the one that was seen: libarchive would take several, one around the other.
    int add_filter(archive* handle) const {
        switch (form_) {
            case DiskForm::kXz:
                return ::archive_read_support_filter_xz(handle);
            case DiskForm::kZstd:
                return ::archive_read_support_filter_zstd(handle);
            case DiskForm::kBzip2:
                return ::archive_read_support_filter_bzip2(handle);
            default:
                return ARCHIVE_FATAL;
        }
    }
    [[noreturn]] void refuse() const {
        const char* reason = ::archive_error_string(handle_.get());
        throw_error(Code::kSourceIo, "{}: the {} data is damaged or cut off ({})", name_, form_name(form_),
                    reason != nullptr ? reason : "?");
    }
    // libarchive ends where it understands nothing any more, be it a part whose first bytes are damaged.
    void refuse_if_not_at_end() const {
        struct stat info {};
        constexpr int kOfTheFile = -1;
        if (::fstat(fd_.get(), &info) != 0 ||
            ::archive_filter_bytes(handle_.get(), kOfTheFile) != info.st_size)
            throw_error(Code::kSourceIo,
                        "{}: something else stands behind the {} data, or a part of it is "
                        "damaged",
                        name_, form_name(form_));
    }

    std::string name_;
    DiskForm form_;
    Fd fd_;
    std::unique_ptr<archive, decltype(&::archive_read_free)> handle_;
};

}  // namespace

std::unique_ptr<Decompressed> decompress(const ForeignFile& file, DiskForm form) {
    if (form == DiskForm::kGzip) return gunzip(file);
    return std::make_unique<Unarchived>(file, form);
}

}  // namespace dupengine::image

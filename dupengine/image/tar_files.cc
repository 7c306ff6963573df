#include "image/tar_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>

#include "base/fd.h"
#include "image/tar.h"

namespace dupengine::image {
namespace {

class TarFiles final : public Files {
  public:
    explicit TarFiles(const std::string& path)
        : name_(path), fd_(open_path(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, Code::kRefused)) {
        struct stat info {};
        if (::fstat(fd_.get(), &info) != 0) throw_errno(Code::kSourceIo, errno, "{}", name_);
        if (!S_ISREG(info.st_mode))
            throw_error(Code::kRefused, "{}: no regular file; `image:-` reads a tar from a pipe", name_);
        size_ = static_cast<std::uint64_t>(info.st_size);
        scan();
    }

    const std::string& name() const override { return name_; }

    std::optional<std::uint64_t> size_of(const std::string& file) const override {
        const auto at = places_.find(file);
        if (at == places_.end()) return std::nullopt;
        return at->second.size;
    }

    void read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const override {
        const auto at = places_.find(file);
        if (at == places_.end()) throw_error(Code::kIntegrity, "{}: {} is missing", name_, file);
        const auto [begin, size] = at->second;
        if (offset > size || size - offset < buffer.size())
            throw_error(Code::kIntegrity, "{}: {} is cut off at byte {}", name_, file, size);
        pread_exact(fd_.get(), begin + offset, buffer, Code::kSourceIo, name_);
    }

  private:
    void scan();

    struct Place {
        ByteOffset begin = 0;
        std::uint64_t size = 0;
    };
    std::string name_;
    Fd fd_;
    std::uint64_t size_ = 0;
    std::map<std::string, Place> places_;
};

void TarFiles::scan() {
    Bytes buffer(16 * kKiB);  // a header and what libarchive reads ahead with it
    ByteOffset at = 0;
    TarScanner::Source source;
    source.read = [&]() -> std::span<const std::byte> {
        const std::uint64_t left = at < size_ ? size_ - at : 0;
        const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), left));
        pread_exact(fd_.get(), at, part, Code::kSourceIo, name_);
        at += part.size();
        return part;
    };
    source.skip = [&](std::uint64_t bytes) { at += bytes; };
    TarScanner scanner(std::move(source), name_);
    std::optional<StoredImage> image;
    // A pack is full from 16 MiB or 65536 entries on; more files than that are there to fill our memory.
    const std::uint64_t most_files = 16 + size_ / (2 * kMiB);
    while (const auto entry = scanner.next()) {
        if (places_.size() == most_files)
            throw_error(Code::kIntegrity, "{}: holds more files than an image of its size", name_);
        const TarName name = parse_tar_name(name_, entry->file, entry->size_bytes);
        if (entry->offset > size_ || entry->size_bytes > size_ - entry->offset)
            throw_error(Code::kIntegrity, "{}: the tar is cut off", name_);
        if (name.part != TarPart::kPack && name.part != TarPart::kIndex) {
            if (image && *image != name.image)
                throw_error(Code::kIntegrity, "{}: holds several images; a tar holds one", name_);
            image = name.image;
        }
        if (!places_.emplace(entry->file, Place{entry->offset, entry->size_bytes}).second)
            throw_error(Code::kIntegrity, "{}: holds {} twice", name_, entry->file);
    }
}

}  // namespace

std::unique_ptr<Files> open_tar(const std::string& path) {
    return std::make_unique<TarFiles>(path);
}

}  // namespace dupengine::image

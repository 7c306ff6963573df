#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "image/foreign/decompress.h"

namespace dupengine::image {
namespace {

// zlib checks length and CRC-32 of each member (RFC 1952, 2.2) when it is told to expect gzip.
constexpr int kWindowBits = 15, kExpectGzip = 16;

class Gunzip final : public Decompressed {
  public:
    explicit Gunzip(const ForeignFile& file)
        : name_(file.name), fd_(open_path(file.path(), O_RDONLY, Code::kRefused)), input_(256 * kKiB) {
        if (::inflateInit2(&stream_, kWindowBits + kExpectGzip) != Z_OK)
            throw_error(Code::kInternal, "no memory to unpack {}", name_);
    }
    ~Gunzip() override { ::inflateEnd(&stream_); }
    Gunzip(const Gunzip&) = delete;
    Gunzip& operator=(const Gunzip&) = delete;

    std::size_t read(std::span<std::byte> buffer) override {
        stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
        stream_.avail_out = static_cast<uInt>(buffer.size());
        while (stream_.avail_out != 0) {
            if (stream_.avail_in == 0 && !fill()) {
                if (inside_) throw_error(Code::kSourceIo, "{}: the gzip data is cut off", name_);
                break;
            }
            if (!inside_ && !begins_member()) break;
            inside_ = true;
            const int status = ::inflate(&stream_, Z_NO_FLUSH);
            if (status == Z_STREAM_END) {
                inside_ = false;
                ::inflateReset(&stream_);
            } else if (status != Z_OK && status != Z_BUF_ERROR) {
                throw_error(Code::kSourceIo, "{}: the gzip data is damaged ({})", name_,
                            stream_.msg != nullptr ? stream_.msg : "?");
            }
        }
        return buffer.size() - stream_.avail_out;
    }

  private:
    bool fill() {
        ::ssize_t n = 0;
        do
            n = ::read(fd_.get(), input_.data(), input_.size());
        while (n < 0 && errno == EINTR);
        if (n < 0) throw_errno(Code::kSourceIo, errno, "{}: cannot be read", name_);
        stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
        stream_.avail_in = static_cast<uInt>(n);
        return n > 0;
    }
    // Between members: another one, or nothing but zeros (a tape's, which gzip(1) takes as well) to the end.
    bool begins_member() {
        if (members_++ == 0) return true;
        if (*stream_.next_in != 0) return true;  // a member, or inflate says that it is none
        do {
            const std::span rest(stream_.next_in, stream_.avail_in);
            if (std::ranges::any_of(rest, [](Bytef byte) { return byte != 0; }))
                throw_error(Code::kSourceIo, "{}: something else stands behind the gzip data", name_);
        } while (fill());
        return false;
    }

    std::string name_;
    Fd fd_;
    Bytes input_;
    z_stream stream_{};
    bool inside_ = false;  // of a member
    std::uint64_t members_ = 0;
};

}  // namespace

std::unique_ptr<Decompressed> gunzip(const ForeignFile& file) {
    return std::make_unique<Gunzip>(file);
}

}  // namespace dupengine::image

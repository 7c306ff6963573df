#pragma once
// The archives that an initramfs is made of: cpio "newc" (kernel: Documentation/driver-api/early-userspace/
// buffer-format.rst). Every number is checked; a member is at most kMemberLimit. Pure.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dupengine::profiles {

struct CpioMember {
    std::string name;  ///< without leading "./" and "/"
    std::uint32_t mode = 0, uid = 0, gid = 0, mtime = 0;
    std::string content;  ///< a symlink's target
};

/// Bytes that come in pieces of any size; an empty piece is the end.
using ByteSource = std::function<std::string()>;

class CpioReader {
  public:
    explicit CpioReader(ByteSource source) : source_(std::move(source)) {}
    enum class Found {
        kMember,
        kEnd,    ///< of the bytes
        kOther,  ///< something that is no cpio archive; offset() says where
    };
    /// Archives may follow each other, with zeros between. Throws kIntegrity for a damaged one.
    Found next(CpioMember& member);
    std::uint64_t offset() const { return offset_; }

    static constexpr std::uint32_t kMemberLimit = 256u << 20;
    static constexpr std::uint32_t kNameLimit = 4096;

  private:
    bool fill(std::size_t bytes);  // false: the end comes first
    std::string get(std::size_t bytes, const char* what);
    void skip_padding();
    bool at_end();  // between archives: nothing but zeros to come
    ByteSource source_;
    std::string buffer_;
    std::size_t at_ = 0;
    std::uint64_t offset_ = 0;
    bool inside_ = false;  // an archive was begun and has not met its trailer
};

/// One archive with its trailer, a multiple of 4 bytes long.
std::string encode_cpio(const std::vector<CpioMember>& members);

/// Whether a cpio header stands at `offset` of `bytes`.
bool is_cpio_header(std::string_view bytes, std::size_t offset);

}  // namespace dupengine::profiles

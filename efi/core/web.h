#pragma once
// Files that a web server gives out: their addresses, and what firmware's HTTP tells of an answer. Only plain
// http: what comes from there is believed as little as what is on a disk (signature.h). Pure.

#include <optional>

#include "efi/core/bytes.h"
#include "efi/core/text.h"

namespace dupengine::efi {

/// "http://HOST[:PORT]/PATH"; the host without its port.
struct WebAddress {
    Text<256> authority;  ///< "10.0.2.2:8080", as a request names its host
};

bool is_web_address(TextView text);

/// Returns nothing, or why it cannot be asked for.
TextView read_web_address(TextView text, WebAddress& into);

/// How large a file may be, as for files on disks.
inline constexpr std::uint64_t kLargestWebFile = 1024 * kMiB;

/// The header's name, whatever its capitals, and the number that is its value.
bool is_content_length(TextView name);
std::optional<std::uint64_t> read_content_length(TextView value);

/// An answer by the number of UEFI's EFI_HTTP_STATUS_CODE.
struct WebAnswer {
    TextView reason;  ///< nothing: the file follows
    bool may_pass = false;
};
WebAnswer answer_of(std::uint32_t status_code);
/// Of what was asked for as a part.
WebAnswer answer_of_part(std::uint32_t status_code);

/// "bytes=0-1048575", as Range has it (RFC 9110, 14.2).
Text<64> range_of(std::uint64_t offset, std::uint64_t bytes);

/// What has come of a body of a known size. More than that is never asked for.
class WebBody {
  public:
    explicit WebBody(Buffer whole) : whole_(whole) {}
    /// Where the next part goes: at most `most` bytes; empty when all is there.
    Buffer room(std::size_t most) const;
    /// So many bytes of the room were filled. Returns nothing, or what is wrong with that.
    TextView filled(std::uint64_t bytes);
    std::size_t size() const { return filled_; }
    bool complete() const { return filled_ == whole_.size(); }

  private:
    Buffer whole_;
    std::size_t filled_ = 0;
};

}  // namespace dupengine::efi

#pragma once
// Changes structures of a small NTFS volume in memory, as mkntfs makes it: one piece of $MFT, records of 1024
// bytes, clusters of 1024 bytes. What it writes is valid unless said otherwise.

#include "base/bytes.h"
#include "block/extent.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

/// mkntfs over a new sparse file.
std::string make_ntfs(const ScratchFolder& scratch, const std::string& name, std::uint64_t size_bytes,
                      const std::vector<std::string>& arguments);

class NtfsEditor {
  public:
    explicit NtfsEditor(Bytes& content) : content_(content) {}

    /// A record that mkntfs leaves unused.
    static constexpr std::uint64_t kExtension = 16;

    ByteOffset record_at(std::uint64_t number) const;
    /// The header of an attribute with this type and ASCII name.
    ByteOffset attribute_at(std::uint64_t number, std::uint32_t type, const std::string& name = {}) const;
    /// Where the first run of a stream begins.
    ByteOffset first_byte_of(std::uint64_t number, std::uint32_t type = 0x80,
                             const std::string& name = {}) const;
    void set_volume_flags(std::uint16_t flags);
    void set_version(unsigned major, unsigned minor);
    struct RestartPage {
        std::uint64_t lsn = 0;
        std::uint16_t client = 0xFFFF;
        std::uint16_t flags = 0;
    };
    void put_restart_page(unsigned which, const RestartPage& page);
    /// Clears one bit of $Bitmap.
    void mark_free(std::uint64_t cluster);
    /// Moves the second half of $Bitmap to other clusters (which it returns) and describes it in kExtension,
    /// with an attribute list in record 6.
    block::Extent split_bitmap();

  private:
    void put_fixups(std::uint64_t number);
    Bytes& content_;
};

}  // namespace dupengine::test

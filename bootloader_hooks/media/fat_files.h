#pragma once
// A FAT filesystem in a file, made by mkfs.vfat, and its files, put there by mtools without a mount.

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace dupengine::boot {

/// Throws kUnsupported with what installs them.
void check_fat_programs();

class FatFiles {
  public:
    struct Place {
        std::string path;           ///< of a file that is large enough
        std::uint64_t begin_bytes;  ///< in whole sectors
        std::uint64_t bytes;        ///< in whole KiB
        unsigned bits;              ///< 12, 16, 32; 0: as suits the size
        std::string label;
    };
    /// Makes the filesystem. Throws kTargetIo with what a program says, kInterrupted; so do all of these.
    FatFiles(Place place, std::stop_token stop);
    void folder(const std::string& path) const;
    /// From another file, or as it is given.
    void file(const std::string& path, const std::string& content_of) const;
    void content(const std::string& path, std::string content) const;

  private:
    std::string image() const;
    void run(const std::vector<std::string>& argv, std::string input = {}) const;
    Place place_;
    std::stop_token stop_;
};

}  // namespace dupengine::boot

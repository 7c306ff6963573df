#pragma once
// `copy --create`: a target file that does not exist is made, and goes away again unless something was
// written to it, by us or by anybody.

#include <cstdint>
#include <string>

namespace dupengine::cli {

/// Throws kRefused for a place below /dev (but /dev/shm): a mistyped device name must not become a file.
void refuse_place_in_dev(const std::string& path);

class CreatedFile {
  public:
    CreatedFile() = default;
    /// A sparse file. Throws kRefused, also as refuse_place_in_dev.
    CreatedFile(std::string path, std::uint64_t size_bytes);
    CreatedFile(CreatedFile&& other) noexcept;
    CreatedFile& operator=(CreatedFile&& other) noexcept;
    ~CreatedFile();
    void keep() { path_.clear(); }

  private:
    std::string path_;  // empty: nothing to take away
};

}  // namespace dupengine::cli

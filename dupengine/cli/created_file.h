#pragma once
// `copy --create`: a target file that does not exist is made, and goes away again unless something was
// written to it, by us or by anybody.

#include <cstdint>
#include <string>

namespace dupengine::cli {

class CreatedFile {
  public:
    CreatedFile() = default;
    /// A sparse file. Throws kRefused, also for a place below /dev: a mistyped device name must not become a
    /// file.
    CreatedFile(std::string path, std::uint64_t size_bytes);
    CreatedFile(CreatedFile&& other) noexcept;
    CreatedFile& operator=(CreatedFile&& other) noexcept;
    ~CreatedFile();
    void keep() { path_.clear(); }

  private:
    std::string path_;  // empty: nothing to take away
};

}  // namespace dupengine::cli

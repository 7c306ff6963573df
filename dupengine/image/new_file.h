#pragma once
// A file that is there only once it is whole: written beside its place, flushed, read back, renamed. Given
// up, it leaves nothing. One thread at a time.

#include <string>
#include <vector>

#include "base/fd.h"
#include "codec/digest.h"

namespace dupengine::image {

class NewFile {
  public:
    /// Throws kTargetIo.
    explicit NewFile(std::string path);
    ~NewFile();
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    /// Behind what was written so far.
    void append(std::span<const std::byte> bytes);
    /// In place of just what one append wrote there, at most 1 MiB.
    void replace(ByteOffset offset, std::span<const std::byte> bytes);
    ByteOffset size() const { return size_; }
    /// Flushed, read back from the medium and compared, and in its place. Throws kTargetIo, kIntegrity.
    void commit();

  private:
    void read_back();
    std::string path_, temporary_;
    Fd fd_;
    ByteOffset size_ = 0;
    struct Piece {
        ByteOffset offset = 0;
        std::size_t bytes = 0;
        codec::Xxh128 digest;
    };
    std::vector<Piece> appended_;
};

/// Makes the folder if it is not there, so that it is durable. Throws kTargetIo.
void make_folder(const std::string& path);

}  // namespace dupengine::image

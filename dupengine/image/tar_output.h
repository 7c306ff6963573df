#pragma once
// Where a new tar goes: a file that has no name before it is whole, or a pipe. One thread at a time.

#include <memory>
#include <stop_token>

#include "base/bytes.h"

namespace dupengine::image {

class TarOutput {
  public:
    virtual ~TarOutput() = default;
    /// Throws kTargetIo.
    virtual void append(std::span<const std::byte> bytes) = 0;
    /// Behind the last byte. Of a file: flushed, read back and compared, and in its place. Of standard
    /// output: flushed if it is a file or a disk. Throws kTargetIo, kIntegrity.
    virtual void commit() = 0;
};

/// Throws kRefused if there is such a file: a tar holds one image.
std::unique_ptr<TarOutput> new_tar_file(const std::string& path);
/// Standard output, or what else is open. Throws kInterrupted while it waits for whoever reads. SIGPIPE is
/// the caller's to ignore.
std::unique_ptr<TarOutput> tar_pipe(int fd, std::stop_token stop);

}  // namespace dupengine::image

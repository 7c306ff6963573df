#pragma once
// A file descriptor as an object, and the one loop for short reads and writes. Opened with O_CLOEXEC always.
// Everything throws dupengine::Error with the code that the caller names; nothing is retried but EINTR and
// short transfers. An Fd is used by one thread at a time; positional reads and writes of one Fd may run in
// parallel.

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace dupengine {

class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    /// Closes and ignores the result: for descriptors that were only read. Writers call close().
    ~Fd();

    int get() const { return fd_; }
    bool valid() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    /// Closes, and throws if the kernel reports a failed write at that moment. Never called twice.
    void close(Code code, const std::string& name);

  private:
    int fd_ = -1;
};

/// open(2) with O_CLOEXEC. Throws `code` with the path and the reason.
Fd open_path(const std::string& path, int flags, Code code, unsigned mode = 0644);

/// Reads exactly buffer.size() bytes at `offset`. An end of file before that is an error (`code`).
void pread_exact(int fd, ByteOffset offset, std::span<std::byte> buffer, Code code, const std::string& name);
/// Writes exactly buffer.size() bytes at `offset`.
void pwrite_exact(int fd, ByteOffset offset, std::span<const std::byte> buffer, Code code,
                  const std::string& name);

/// Reads from the current position until the end, at most `limit_bytes` (more throws kIntegrity).
Bytes read_to_end(int fd, std::size_t limit_bytes, const std::string& name);

/// A whole small file as text. Throws `code` if it cannot be read or is larger than `limit_bytes`.
std::string read_file(const std::string& path, Code code, std::size_t limit_bytes = 64 * kMiB);

/// Replaces `path` so that after a power cut it holds either the old or the new content: temporary file in
/// the same folder, fsync, rename, fsync of the folder. Keeps nothing of the old file's mode or owner.
void write_file_atomic(const std::string& path, std::span<const std::byte> content, unsigned mode, Code code);

}  // namespace dupengine

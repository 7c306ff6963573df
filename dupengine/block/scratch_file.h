#pragma once
// Room for what does not fit into memory and is of use to this run only: a sparse file without a name in
// $TMPDIR (or /var/tmp), gone with the process, however it ends. Reads and writes of disjoint ranges may come
// from several threads.

#include <span>
#include <string>

#include "base/fd.h"
#include "block/extent.h"

namespace dupengine::block {

class ScratchFile {
  public:
    /// `what` will be in it, for messages. Throws kRefused if no file can be made there.
    explicit ScratchFile(std::string what);

    const std::string& folder() const { return folder_; }
    int fd() const { return fd_.get(); }
    /// When all is written, and before any of it counts: what did not get to the disk is an error here, and
    /// read as something else later. Throws kRefused.
    void settle() const;
    std::uint64_t free_bytes() const;
    /// Throws kRefused if less is free there.
    void need(std::uint64_t bytes) const;
    /// So long that all up to there can be read; it takes no room.
    void extend_to(std::uint64_t bytes) const;
    /// Throws kRefused if there is no room.
    void write(ByteOffset offset, std::span<const std::byte> bytes) const;
    /// What was never written, or forgotten, is zero up to the end of what was written.
    void read(ByteOffset offset, std::span<std::byte> buffer) const;
    /// Gives the room back, where the file system can do that.
    void forget(Extent extent) const;

  private:
    std::string what_, folder_;
    Fd fd_;
};

}  // namespace dupengine::block

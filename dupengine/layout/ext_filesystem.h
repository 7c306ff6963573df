#pragma once
// libext2fs over a block::Reader: opens a filesystem read-only, through our own reads (so it runs on fakes,
// and opens nothing by path). A write through it is an error. Internal to layout/. Used by one thread at a
// time.

#include <ext2fs/ext2fs.h>

#include <exception>
#include <memory>

#include "block/device.h"

namespace dupengine::layout {

class ExtFilesystem {
  public:
    /// Reads the superblock and the group descriptors, and verifies the superblock's checksum. Call
    /// read_ext_super first: libext2fs allocates from the numbers in the superblock. Throws kIntegrity, or
    /// what `part` throws.
    explicit ExtFilesystem(const block::Reader& part);
    ~ExtFilesystem();
    ExtFilesystem(const ExtFilesystem&) = delete;
    ExtFilesystem& operator=(const ExtFilesystem&) = delete;

    ext2_filsys get() const { return filesystem_; }
    /// Returns if `code` is 0. Otherwise throws the error of the reader if that is the cause, else
    /// kIntegrity.
    void check(errcode_t code, const char* what) const;

    struct Channel;

  private:
    std::unique_ptr<Channel> channel_;
    ext2_filsys filesystem_ = nullptr;
};

}  // namespace dupengine::layout

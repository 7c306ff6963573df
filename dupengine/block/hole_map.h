#pragma once
// What of a regular file is data and what a hole, as its file system tells (lseek: SEEK_DATA, SEEK_HOLE). To
// find where data ends the kernel walks through all of it, so runs of data are remembered. Holes are not,
// because anybody's write may fill one: at worst a hole is taken for data, which reads as the zeros it is.
// Any thread.

#include <mutex>
#include <string>

#include "block/extent.h"

namespace dupengine::block {

class HoleMap {
  public:
    /// Of the file that `fd` has open, which outlives this. `name` and `code` are for errors.
    HoleMap(int fd, std::uint64_t size_bytes, Code code, std::string name);

    /// The first part of `within` that is data; empty if the rest is a hole. Throws if the file became
    /// shorter.
    Extent next_data(Extent within);
    /// The same question, without the walk to the end of the data.
    bool has_data(Extent within) const;
    /// To be told after holes were made in `extent`.
    void forget(Extent extent);

  private:
    ByteOffset find_data(ByteOffset from) const;
    ByteOffset find_hole(ByteOffset from) const;

    int fd_;
    std::uint64_t size_bytes_;
    Code code_;
    std::string name_;
    std::mutex mutex_;
    ExtentSet data_;  // what is known to be
};

}  // namespace dupengine::block

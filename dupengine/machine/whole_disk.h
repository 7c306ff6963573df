#pragma once
// A disk whose writes can be followed: a whole one, with requests that the kernel shows, and with no other
// path to it than this.

#include <sys/types.h>

#include <string>

namespace dupengine::machine {

/// Its device number. Throws kRefused if it is not a whole disk, or one path of several; kUnsupported if its
/// driver takes no requests.
dev_t whole_disk_number(const std::string& disk);
/// Where /sys tells of it.
std::string folder_of_disk(dev_t number);

}  // namespace dupengine::machine

#pragma once
// The files of one image in one tar (tar_names.h).

#include "image/files.h"
#include "image/tar_names.h"

namespace dupengine::image {

/// A tar that can be read at any place; its headers are read once. Throws kRefused if there is no such file,
/// kIntegrity if it is no whole tar, or holds anything else than one image. May be used from any thread.
std::unique_ptr<Files> open_tar(const std::string& path);

}  // namespace dupengine::image

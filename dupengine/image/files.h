#pragma once
// Where the files of a store are read from: a folder, one tar, a web server. Names are relative, with '/'
// between folders. Only named files can be had, nothing is ever listed: a web server may not tell what it
// has. Nothing that comes from here is to be believed. From any thread.

#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "base/bytes.h"

namespace dupengine::image {

class Files {
  public:
    virtual ~Files() = default;
    /// As a person knows it: the path or the address.
    virtual const std::string& name() const = 0;
    /// Empty if there is no such file. Throws kSourceIo (kPeer for a server) for any other reason.
    virtual std::optional<std::uint64_t> size_of(const std::string& file) const = 0;
    /// Reads all of `buffer` at `offset`. Throws kSourceIo (kPeer); kIntegrity past the end.
    virtual void read(const std::string& file, ByteOffset offset, std::span<std::byte> buffer) const = 0;
    /// That this is going to be read soon, for files that are far away. Never waits; may be forgotten.
    virtual void will_read(const std::string& file, ByteOffset offset, std::size_t bytes) const {
        static_cast<void>(file), static_cast<void>(offset), static_cast<void>(bytes);
    }
    /// Asked to stop, who waits for something far away throws kInterrupted. Before others read.
    virtual void set_stop(std::stop_token stop) { static_cast<void>(stop); }
};

/// A whole small file. Throws as Files do, and kIntegrity if it is missing or larger than `limit_bytes`.
Bytes read_whole(const Files& files, const std::string& file, std::size_t limit_bytes);

/// The files below a folder. Throws kRefused if there is no such folder.
std::unique_ptr<Files> open_folder(const std::string& path);

}  // namespace dupengine::image

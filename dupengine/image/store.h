#pragma once
// A store in a folder: images, and the packs that their chunks are in, shared by all of them. What is in it
// is replaced only whole, and named in its index last, so a cut at any moment leaves the images that were
// there.
//
//     store.json              which images there are
//     lock                    who is at work
//     images/NAME/VERSION.json, .sig, .lists, .places
//     packs/ID.pack
//
// One process captures into a store at a time; any number read it.

#include <string>

#include "base/fd.h"
#include "image/chunk_list.h"
#include "image/files.h"
#include "image/store_index.h"

namespace dupengine::image {

/// Held as long as it lives; others wait for nothing, they are refused.
class StoreLock {
  public:
    enum class For {
        kReading,   ///< with others that read, and one that writes
        kWriting,   ///< images are added
        kTakingOut  ///< alone
    };
    /// Throws kRefused if somebody is at work whom it excludes. A store that cannot be locked (another
    /// machine's, read-only) is read without a lock.
    StoreLock(const std::string& store, For what);

  private:
    Fd fd_;
};

class Store {
  public:
    /// Makes a store if the path is missing or an empty folder. Throws kRefused if it is something else,
    /// kTargetIo.
    static void create(const std::string& path);
    /// Throws kRefused if there is no store.
    Store(std::string path, StoreLock::For what);

    const std::string& path() const { return path_; }
    const Files& files() const { return *files_; }
    const StoreIndex& index() const { return index_; }
    std::vector<PackId> packs() const;
    /// What is named in the index from here on, durable. Throws kTargetIo.
    void replace_index(StoreIndex index);

  private:
    std::string path_;
    StoreLock lock_;
    std::unique_ptr<Files> files_;
    StoreIndex index_;
};

/// The index of a store that is read from anywhere. Throws kRefused if there is none.
StoreIndex read_store_index(const Files& files);

}  // namespace dupengine::image

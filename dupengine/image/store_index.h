#pragma once
// What a store holds: its file "store.json", written last when an image is added and first when one is taken
// out, so that what it names is whole. Not signed: it only says where to look; an image speaks for itself.
// dupengine-formats(5). Pure.

#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "image/reference.h"

namespace dupengine::image {

struct StoredImage {
    std::string name;
    std::uint64_t version = 0;
    bool operator==(const StoredImage&) const = default;
    /// "images/web/7": its files are this and ".json", ".sig", ".lists", ".places".
    std::string base() const;
    std::string text() const;  ///< "web@7"
};

struct StoreIndex {
    std::vector<StoredImage> images;  ///< by name, then version

    /// The newest of that name; null if there is none.
    const StoredImage* newest(std::string_view name) const;
    /// What the reference means. Throws kRefused, naming what there is, if it means nothing here.
    const StoredImage& find(const Reference& reference) const;
    void insert(const StoredImage& image);
    void erase(const StoredImage& image);
};

inline constexpr const char* kStoreFile = "store.json";
inline constexpr std::size_t kStoreFileLimit = 16 * kMiB;

std::string to_json(const StoreIndex& index);
/// Throws kIntegrity.
StoreIndex parse_store_index(std::span<const std::byte> json);

}  // namespace dupengine::image

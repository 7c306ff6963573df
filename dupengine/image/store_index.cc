#include "image/store_index.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace dupengine::image {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "dupengine store";
constexpr unsigned kVersion = 1;

bool comes_before(const StoredImage& a, const StoredImage& b) {
    return a.name != b.name ? a.name < b.name : a.version < b.version;
}

StoreIndex parse(const Json& json) {
    if (json.at("format") != kFormat) throw_error(Code::kIntegrity, "not the index of a store");
    if (json.at("format_version") != kVersion)
        throw_error(Code::kUnsupported, "a store of format {}; this dupengine knows format {}",
                    json.at("format_version").dump(), kVersion);
    StoreIndex index;
    for (const Json& entry : json.at("images")) {
        StoredImage image{entry.at("name").get<std::string>(), entry.at("version").get<std::uint64_t>()};
        if (!is_image_name(image.name) || image.version == 0)
            throw_error(Code::kIntegrity, "the index of the store names an image that cannot be one");
        index.images.push_back(image);
    }
    std::ranges::sort(index.images, comes_before);
    index.images.erase(std::unique(index.images.begin(), index.images.end()), index.images.end());
    return index;
}

std::string names_of(const std::vector<StoredImage>& images) {
    std::set<std::string> names;
    for (const StoredImage& image : images)
        names.insert(image.name);
    std::string text;
    for (const std::string& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text;
}

}  // namespace

std::string StoredImage::base() const {
    return "images/" + name + "/" + std::to_string(version);
}

std::string StoredImage::text() const {
    return name + "@" + std::to_string(version);
}

const StoredImage* StoreIndex::newest(std::string_view name) const {
    const StoredImage* found = nullptr;
    for (const StoredImage& image : images)
        if (image.name == name) found = &image;
    return found;
}

const StoredImage& StoreIndex::find(const Reference& reference) const {
    if (images.empty()) throw_error(Code::kRefused, "{}: the store is empty", reference.text());
    std::string name = images.front().name;
    if (reference.name) {
        name = *reference.name;
    } else if (images.back().name != name) {
        throw_error(Code::kRefused, "{}: the store holds several images ({}); say which: {}#NAME",
                    reference.text(), names_of(images), reference.text());
    }
    const StoredImage* image = newest(name);
    if (image == nullptr)
        throw_error(Code::kRefused, "{}: the store holds no such image; it holds {}", reference.text(),
                    names_of(images));
    if (!reference.version) return *image;
    const auto at = std::ranges::find(images, StoredImage{name, *reference.version});
    if (at == images.end())
        throw_error(Code::kRefused, "{}: the store holds no such version; the newest is {}", reference.text(),
                    image->version);
    return *at;
}

void StoreIndex::insert(const StoredImage& image) {
    const auto at = std::ranges::lower_bound(images, image, comes_before);
    if (at == images.end() || *at != image) images.insert(at, image);
}

void StoreIndex::erase(const StoredImage& image) {
    std::erase(images, image);
}

std::string to_json(const StoreIndex& index) {
    Json json = {{"format", kFormat}, {"format_version", kVersion}, {"images", Json::array()}};
    for (const StoredImage& image : index.images)
        json["images"].push_back({{"name", image.name}, {"version", image.version}});
    return json.dump(1) + "\n";
}

StoreIndex parse_store_index(std::span<const std::byte> bytes) {
    const auto deep_is_wrong = [](int depth, Json::parse_event_t, Json&) {
        if (depth > 8) throw_error(Code::kIntegrity, "the index of the store is nested too deeply");
        return true;
    };
    try {
        return parse(Json::parse(as_text(bytes), deep_is_wrong));
    } catch (const Json::exception& e) {
        throw_error(Code::kIntegrity, "the index of the store is damaged: {}", e.what());
    }
}

}  // namespace dupengine::image

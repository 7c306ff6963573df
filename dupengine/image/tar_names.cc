#include "image/tar_names.h"

#include <array>
#include <charconv>
#include <filesystem>

#include "image/signature.h"

namespace dupengine::image {
namespace {

bool is_pack(std::string_view file) {
    constexpr std::string_view kFolder = "packs/", kEnding = ".pack";
    if (!file.starts_with(kFolder) || !file.ends_with(kEnding)) return false;
    file.remove_prefix(kFolder.size());
    return file.size() == 2 * sizeof(PackId) + kEnding.size() &&
           file.find_first_not_of("0123456789abcdef") == 2 * sizeof(PackId);
}

std::optional<StoredImage> parse_base(std::string_view base) {
    constexpr std::string_view kFolder = "images/";
    if (!base.starts_with(kFolder)) return std::nullopt;
    base.remove_prefix(kFolder.size());
    const auto slash = base.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    StoredImage image{std::string(base.substr(0, slash)), 0};
    const std::string_view digits = base.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), image.version);
    // Only one way to write a number is one, so that no file is there under two names.
    if (error != std::errc() || end != digits.data() + digits.size() || image.version == 0 ||
        digits.front() == '0' || !is_image_name(image.name))
        return std::nullopt;
    return image;
}

struct Kind {
    std::string_view ending;
    TarPart part;
    std::uint64_t limit_bytes;
};
constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
constexpr std::array<Kind, 4> kKinds{{{".json", TarPart::kManifest, kManifestLimit},
                                      {".sig", TarPart::kSignature, kSignatureLimit},
                                      {".lists", TarPart::kLists, kNoLimit},
                                      {".places", TarPart::kPlaces, kNoLimit}}};

}  // namespace

TarName parse_tar_name(const std::string& tar, const std::string& file, std::uint64_t size_bytes) {
    TarName name;
    std::uint64_t limit = 0;
    bool known = false;
    if (file == kStoreFile) {
        name.part = TarPart::kIndex;
        limit = kStoreFileLimit;
        known = true;
    } else if (is_pack(file)) {
        limit = kLargestPack;
        known = true;
    } else {
        for (const Kind& kind : kKinds) {
            if (!std::string_view(file).ends_with(kind.ending)) continue;
            const auto image = parse_base(std::string_view(file).substr(0, file.size() - kind.ending.size()));
            if (!image) continue;
            name = {kind.part, *image};
            limit = kind.limit_bytes;
            known = true;
        }
    }
    if (!known) throw_error(Code::kIntegrity, "{}: holds a file that is of no image", tar);
    if (size_bytes > limit)
        throw_error(Code::kIntegrity, "{}: {} has {} bytes, more than it can have", tar, file, size_bytes);
    return name;
}

bool is_tar(const std::string& place) {
    std::error_code error;
    return place == kPipe || (place.ends_with(".tar") && !std::filesystem::is_directory(place, error));
}

}  // namespace dupengine::image

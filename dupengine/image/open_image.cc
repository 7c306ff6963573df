#include "image/open_image.h"

#include <unistd.h>

#include "image/tar_files.h"
#include "image/web_files.h"

namespace dupengine::image {
namespace {

std::string authenticate(const Files& files, const StoredImage& image, std::span<const std::byte> json,
                         const TrustedKeys& keys) {
    const std::string file = image.base() + ".sig";
    const auto size = files.size_of(file);
    if (!size) throw_error(Code::kAuthenticity, "it is not signed (--insecure takes it all the same)");
    if (*size > kSignatureLimit) throw_error(Code::kAuthenticity, "the signature is damaged");
    return keys.verify(json, read_whole(files, file, kSignatureLimit));
}

std::unique_ptr<StreamFiles> open_pipe() {
    if (::isatty(STDIN_FILENO) != 0)
        throw_error(Code::kUsage, "image:- reads a tar from standard input, which is a terminal");
    return std::make_unique<StreamFiles>(STDIN_FILENO, "standard input");
}

// There is no index to look into before what stands in front of it has come.
StoredImage find_in_stream(const StreamFiles& files, const Reference& reference) {
    StoreIndex index;
    index.insert(files.image());
    return index.find(reference);
}

}  // namespace

const block::Reader& OpenImage::disk() const {
    return streamed ? static_cast<const block::Reader&>(*streamed) : *reader;
}

void OpenImage::finish() const {
    if (stream != nullptr) stream->take_rest(reader->map().packs().size(), StreamFiles::Rest::kForgotten);
}

void OpenImage::take_whole() const {
    if (stream != nullptr) stream->take_rest(reader->map().packs().size(), StreamFiles::Rest::kKept);
}

std::unique_ptr<Files> open_files(const Reference& reference, const WebOptions& web) {
    if (reference.is_web()) return open_web(reference.place, web);
    if (reference.place == kPipe) return open_pipe();
    return is_tar(reference.place) ? open_tar(reference.place) : open_folder(reference.place);
}

std::optional<StoreLock> lock_for_reading(const Reference& reference) {
    if (reference.is_web() || is_tar(reference.place)) return std::nullopt;
    return std::optional<StoreLock>(std::in_place, reference.place, StoreLock::For::kReading);
}

Manifest read_manifest(const Files& files, const StoredImage& image, const Trust& trust,
                       std::string* signed_by) {
    try {
        const Bytes json = read_whole(files, image.base() + ".json", kManifestLimit);
        if (trust.keys != nullptr) {
            const std::string key = authenticate(files, image, json, *trust.keys);
            if (signed_by != nullptr) *signed_by = key;
        }
        Manifest manifest = parse_manifest(json);
        // A good manifest of another image, put in the place of this one, is as bad as a forged one.
        if (manifest.name != image.name || manifest.version != image.version)
            throw_error(Code::kAuthenticity, "its manifest is of {}@{}", manifest.name, manifest.version);
        if (trust.keys != nullptr && manifest.expires && *manifest.expires < trust.now)
            throw_error(Code::kAuthenticity, "it has expired (--insecure takes it all the same)");
        return manifest;
    } catch (Error& e) {
        e.add_context(fmt::format("{}#{}", files.name(), image.text()));
        throw;
    }
}

OpenImage open_image(const Reference& reference, const Trust& trust, const WebOptions& web) {
    OpenImage open;
    if (!reference.is_web() && reference.place == kPipe) {
        auto pipe = open_pipe();
        open.stream = pipe.get();
        open.files = std::move(pipe);
    } else {
        open.files = open_files(reference, web);
    }
    open.lock = lock_for_reading(reference);
    if (reference.is_web() && !web.cache_folder.empty())
        open.cache = std::make_unique<PackCache>(web.cache_folder, web.cache_bytes);
    const StoredImage image = open.stream != nullptr ? find_in_stream(*open.stream, reference)
                                                     : read_store_index(*open.files).find(reference);
    Manifest manifest = read_manifest(*open.files, image, trust, &open.signed_by);
    const std::string name = Reference{reference.place, image.name, image.version}.text();
    open.reader =
        std::make_unique<ImageReader>(*open.files, std::move(manifest), image.base(), name, open.cache.get());
    if (open.stream != nullptr) open.streamed = std::make_unique<StreamedImage>(*open.reader, *open.stream);
    return open;
}

}  // namespace dupengine::image

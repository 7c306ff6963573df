#include "cli/image_options.h"

#include <ctime>
#include <map>

#include "cli/command.h"

namespace dupengine::cli {

void add_web_options(CLI::App& verb, image::WebOptions& options) {
    verb.add_option("--ca-file", options.ca_file,
                    "Hold certificates of web servers against those in this file, not the system's")
        ->option_text("FILE");
    verb.add_option_function<unsigned>(
            "--patience", [&options](unsigned seconds) { options.patience = std::chrono::seconds(seconds); },
            "How many seconds a web server that fails is asked again (60)")
        ->check(CLI::Range(0, 86400).description(""))
        ->option_text("SECONDS");
}

void add_image_trust_options(CLI::App& verb, ImageTrustOptions& options) {
    verb.add_option("--trust", options.trusted,
                    "Take images signed with this public key, besides those in /etc/dupengine/trusted.d; may "
                    "be repeated")
        ->option_text("FILE")
        ->allow_extra_args(false);
    verb.add_flag("--insecure", options.insecure, "Take an image whoever made it, signed or not");
    add_web_options(verb, options.web);
    verb.add_option("--cache", options.web.cache_folder,
                    "Keep what comes from a web server in this folder, for the next time")
        ->option_text("DIR");
    verb.add_option("--cache-size", options.web.cache_bytes, "At most so much of it (16G)")
        ->transform(size_reader())
        ->option_text("SIZE");
    add_source_format_option(verb, options.format);
}

void add_source_format_option(CLI::App& verb, image::SourceFormat& format) {
    static const std::map<std::string, image::SourceFormat> kFormats = {
        {"auto", image::SourceFormat::kAuto},
        {"raw", image::SourceFormat::kRaw},
        {"compressed", image::SourceFormat::kCompressed},
        {"qcow2", image::SourceFormat::kQcow2}};
    verb.add_option("--source-format", format,
                    "What a file is: auto (as it begins), raw, compressed (gzip, xz, zstd, bzip2), qcow2")
        ->transform(one_of(kFormats))
        ->option_text("FORMAT");
}

image::OpenImage open_trusted_image(const image::Reference& reference, const ImageTrustOptions& options) {
    image::TrustedKeys keys;
    if (!options.insecure) {
        keys.add_folder(image::kTrustedFolder);
        for (const std::string& file : options.trusted)
            keys.add_file(file);
    }
    return image::open_image(reference, {options.insecure ? nullptr : &keys, std::time(nullptr)},
                             options.web);
}

void add_new_image_options(CLI::App& verb, NewImageOptions& options) {
    verb.add_option("--sign-key", options.signing_key, "Sign the new image with this secret key")
        ->option_text("FILE");
    verb.add_option("--expires", options.expires_days,
                    "The new image is not taken any more after so many days")
        ->check(CLI::Range(1, 36500).description(""))
        ->option_text("DAYS");
    verb.add_option("--target-class", options.target_class,
                    "The new image is for machines with this role only")
        ->option_text("ROLE");
}

}  // namespace dupengine::cli

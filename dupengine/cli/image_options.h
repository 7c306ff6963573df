#pragma once
// Options of the verbs that read or write images: whose images are taken, and how a new one is signed.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "image/foreign/kind.h"
#include "image/open_image.h"

namespace dupengine::cli {

/// How a store on a web server is read; of WebOptions not the cache.
void add_web_options(CLI::App& verb, image::WebOptions& options);

struct ImageTrustOptions {
    std::vector<std::string> trusted;  ///< public keys besides those of the system
    bool insecure = false;
    image::WebOptions web;
    image::SourceFormat format = image::SourceFormat::kAuto;  ///< what a file is taken for
    bool any_given() const { return !trusted.empty() || insecure; }
};
/// And those of a web server with a cache.
void add_image_trust_options(CLI::App& verb, ImageTrustOptions& options);

void add_source_format_option(CLI::App& verb, image::SourceFormat& format);

/// Opens an image as the options say. Throws as image::open_image.
image::OpenImage open_trusted_image(const image::Reference& reference, const ImageTrustOptions& options);

struct NewImageOptions {
    std::string signing_key;
    unsigned expires_days = 0;  ///< 0: never
    std::string target_class;
    bool any_given() const { return !signing_key.empty() || expires_days != 0 || !target_class.empty(); }
};
void add_new_image_options(CLI::App& verb, NewImageOptions& options);

}  // namespace dupengine::cli

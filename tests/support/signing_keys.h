#pragma once
// Keys that sign what firmware starts, for tests and fuzz targets: made by the code that users make them
// with, in a folder that goes away.

#include "codec/digest.h"
#include "efi/core/signature.h"
#include "image/signature.h"
#include "profiles/signed_text.h"
#include "tests/support/scratch.h"

namespace dupengine::test {

class SigningKeyPair {
  public:
    SigningKeyPair() { image::make_signing_key(path()); }
    std::string path() const { return folder_.file("key"); }
    efi::PublicKey public_key() const { return image::read_public_key(path() + ".pub"); }
    std::string sign_file(std::string_view content) const {
        return image::SigningKey(path()).sign(codec::sha256(as_bytes(content)),
                                              image::signature_words::kOfBootFile);
    }
    std::string sign_profile(const std::string& text) const {
        return profiles::with_signature(text, image::SigningKey(path()), "node.toml");
    }

  private:
    ScratchFolder folder_;
};

}  // namespace dupengine::test

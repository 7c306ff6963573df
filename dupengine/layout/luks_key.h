#pragma once
// LUKS containers that nobody has opened, read with a key: libcryptsetup unlocks a key slot of a copy of the
// header in memory (it would mend the original), OpenSSL decrypts what is asked for. Needs no device-mapper.
// Keys are overwritten when they are no longer needed and never become text. Never writes.

#include <vector>

#include "base/secret.h"
#include "layout/plaintext.h"

namespace dupengine::layout {

/// The content of a key file: all its bytes, as `cryptsetup --key-file` takes it. At most 8 MiB. From here on
/// this process leaves no core dump (secret.h). Throws kRefused.
Secret read_key_file(const std::string& path);

/// Whether others than its owner may read the file.
bool is_key_file_loose(const std::string& path);

class LuksKeys final : public PlaintextFinder {
  public:
    /// Asks `first` before it uses a key.
    LuksKeys(std::vector<Secret> keys, PlaintextFinder& first) : keys_(std::move(keys)), first_(first) {}

    /// Throws kRefused for a container that no key opens.
    Plaintext find(const block::Reader& part, const LuksHeader& header) override;
    std::string open_without_header(const block::Reader& part) override {
        return first_.open_without_header(part);
    }

  private:
    std::vector<Secret> keys_;
    PlaintextFinder& first_;
};

}  // namespace dupengine::layout

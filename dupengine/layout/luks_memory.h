#pragma once
// libcryptsetup at work on the header of a LUKS container: not on the disk, where it would mend and lock, but
// on a file in memory that has no name and that only this process has. Internal to layout/. Used from one
// thread.

#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/secret.h"
#include "block/device.h"
#include "layout/luks.h"

struct crypt_device;

namespace dupengine::layout {

class LuksInMemory {
  public:
    /// A copy of all in front of the payload, loaded. Throws kRefused for what libcryptsetup does not take.
    static LuksInMemory copy_of(const block::Reader& part, const LuksHeader& header);
    /// As large, and blank: to be formatted. `name` is for messages.
    static LuksInMemory blank(const std::string& name, const LuksHeader& header);

    crypt_device* device() { return device_.get(); }
    /// The volume key if `key` opens a slot. A wrong key, and a slot that is not meant for it, are no errors.
    std::optional<Secret> unlock(const Secret& key);
    /// All in front of the payload, as it is now.
    Bytes area() const;

  private:
    LuksInMemory(std::string name, const LuksHeader& header, std::uint64_t size_bytes);

    std::string name_;
    std::uint64_t area_bytes_;
    Fd file_;
    std::unique_ptr<crypt_device, void (*)(crypt_device*)> device_;
};

}  // namespace dupengine::layout

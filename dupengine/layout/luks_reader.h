#pragma once
// The payload of a LUKS container on the other side of its encryption, computed while it is read: ciphertext
// decrypted, or plaintext encrypted under a volume key. Never writes; may be read from any thread.

#include <memory>
#include <string>

#include "block/device.h"
#include "codec/sector_cipher.h"
#include "layout/luks.h"

namespace dupengine::layout {

/// What SectorCipher does, as dm-crypt calls it.
inline constexpr const char* kUnderstoodCipher = "aes-xts-plain64";

class LuksReader final : public block::Reader {
  public:
    enum class Direction { kDecrypt, kEncrypt };

    /// `payload` is what to begin with, from the first byte of the payload on, in whole sectors of the
    /// encryption that `header` describes. Throws kUnsupported for a key that its cipher does not take.
    LuksReader(std::shared_ptr<const block::Reader> payload, const LuksHeader& header, Secret volume_key,
               Direction direction, std::string name);

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void read_from_medium(ByteOffset offset, std::span<std::byte> buffer) const override;

  private:
    void read_sectors(ByteOffset offset, std::span<std::byte> sectors, From from) const;
    void read_any(ByteOffset offset, std::span<std::byte> buffer, From from) const;

    std::shared_ptr<const block::Reader> payload_;
    std::string name_;
    Direction direction_;
    codec::SectorCipher cipher_;
    std::uint32_t sector_bytes_;
    std::uint64_t iv_offset_;
    block::Geometry geometry_;
};

}  // namespace dupengine::layout

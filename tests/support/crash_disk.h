#pragma once
// A disk that remembers every write, zeroing and flush in order, and can say what would be on the medium
// after a power cut at any moment: all that was flushed, plus any part, torn at sectors, of what was not.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/fake_devices.h"

namespace dupengine::test {

class CrashDisk final : public block::Device {
  public:
    explicit CrashDisk(Bytes initial, std::uint32_t sector_bytes = 512);

    const block::Geometry& geometry() const override { return geometry_; }
    const std::string& name() const override { return name_; }
    void read(ByteOffset offset, std::span<std::byte> buffer) const override;
    void write(ByteOffset offset, std::span<const std::byte> buffer) override;
    void zero(block::Extent extent, Zeroing how) override;
    void flush() override;

    struct Entry {
        bool is_flush = false;
        ByteOffset offset = 0;
        Bytes content;
    };
    using Log = std::vector<Entry>;
    /// The log outlives the device (a Target owns its device).
    std::shared_ptr<const Log> log() const { return log_; }

  private:
    mutable std::mutex mutex_;
    block::Geometry geometry_;
    std::string name_ = "crash disk";
    Bytes now_;
    std::shared_ptr<Log> log_ = std::make_shared<Log>();
};

enum class Cut {
    kPrefix,  ///< the first `entries` operations arrived, the rest did not
    kTorn,    ///< and of the next one some sectors
    kSubset   ///< of what was not flushed any sectors, in no order
};

/// What is on the medium if the power fails when `entries` operations of the log have been issued.
Bytes medium_after(const Bytes& initial, const CrashDisk::Log& log, std::size_t entries, Cut cut,
                   SeededRandom& random, std::uint32_t sector_bytes = 512);

}  // namespace dupengine::test

#pragma once
// The master file table of an NTFS volume and the streams of the files in it, also of those whose attributes
// are spread over several records (attribute lists). Internal to layout/. Used by one thread. Format: the
// NTFS documentation of the Linux-NTFS project, "$MFT", "$ATTRIBUTE_LIST".

#include <optional>

#include "layout/ntfs_record.h"

namespace dupengine::layout {

/// The content of a stream: in the record itself, or in clusters.
struct NtfsStream {
    bool resident = true;
    bool plain = true;
    Bytes value;                 ///< if resident
    std::vector<NtfsRun> runs;   ///< ascending, else
    std::uint64_t clusters = 0;  ///< how many of the stream the runs and holes cover
    std::uint64_t data_bytes = 0, initialized_bytes = 0;
};

/// Files that every volume has, by the number of their record.
struct NtfsFile {
    static constexpr std::uint64_t kMft = 0, kMirror = 1, kLog = 2, kVolume = 3, kRoot = 5, kBitmap = 6,
                                   kBoot = 7, kBadClusters = 8;
};

/// A file's reference is the number of its record and, above that, how often the record was given away.
inline std::uint64_t ntfs_record_of(std::uint64_t reference) {
    return reference & 0xFFFFFFFFFFFF;
}

class NtfsFiles {
  public:
    /// Reads the record of $MFT, and with it where all others are. `part` outlives this.
    NtfsFiles(const block::Reader& part, const NtfsVolume& volume);

    /// A record as it stands, fixups undone and checked.
    NtfsRecord record(std::uint64_t number) const;
    /// How many there are.
    std::uint64_t count() const { return mft_.initialized_bytes / volume_.record_bytes; }
    /// `name` as ntfs_name gives it. Nothing if the file has no such attribute.
    std::optional<NtfsStream> stream(std::uint64_t number, NtfsType type, const std::string& name = {}) const;
    /// As stream, but for what has to be there, plain and without holes. Its runs lie one behind the other.
    NtfsStream plain_stream(std::uint64_t number, NtfsType type, const std::string& name = {}) const;
    /// Bytes of a stream. Throws for what lies in a hole or behind its clusters.
    Bytes read(const NtfsStream& stream, block::Extent range) const;

    /// Where on the part they lie. Nothing for what has no clusters.
    std::vector<block::Extent> places(const NtfsStream& stream, block::Extent range) const;

    const NtfsStream& mft() const { return mft_; }
    const NtfsVolume& volume() const { return volume_; }

  private:
    Bytes record_bytes(std::uint64_t number) const;
    void assemble(const NtfsRecord& base, std::uint64_t number, NtfsType type, const std::string& name,
                  std::optional<NtfsStream>& into) const;

    const block::Reader& part_;
    const NtfsVolume volume_;
    NtfsStream mft_;
};

}  // namespace dupengine::layout

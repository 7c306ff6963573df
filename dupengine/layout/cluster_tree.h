#pragma once
// The folders and files of FAT and exFAT, which have in common that a table says which cluster follows which,
// and that a folder is a file of entries of 32 bytes. For those who look for names in whatever is left of a
// filesystem: what cannot be read or believed is left out. Memory is bounded: a bit for each cluster of a
// chain, and names only of what lies on the places asked for. Internal to layout/. Used by one thread.

#include <string>
#include <vector>

#include "layout/owner_tally.h"

namespace dupengine::layout {

/// Where clusters and the table of clusters lie.
struct ClusterLayout {
    static constexpr std::uint64_t kFirstCluster = 2;

    std::vector<ByteOffset> tables;  ///< the copies in force; what cannot be read in one is read in the next
    unsigned entry_bits = 32;        ///< 12, 16 or 32
    std::uint32_t end_of_chain = 0;  ///< an entry from here on ends a chain
    ByteOffset data_begin = 0;       ///< of the first cluster
    std::uint64_t cluster_bytes = 0, clusters = 0;

    bool has(std::uint64_t cluster) const {
        return cluster >= kFirstCluster && cluster - kFirstCluster < clusters;
    }
    block::Extent bytes_of(std::uint64_t cluster, std::uint64_t count) const {
        const ByteOffset at = data_begin + (cluster - kFirstCluster) * cluster_bytes;
        return {at, at + count * cluster_bytes};
    }
};

/// What the entries of a folder say of a file.
struct ClusterFile {
    std::string name;
    bool is_folder = false;
    bool is_structure = false;  ///< one of the filesystem's own, and `name` is what people call it
    std::uint32_t first = 0;    ///< cluster
    std::uint64_t bytes = 0;    ///< with clusters of its own; what `ends_with_chain` may have less
    bool ends_with_chain = false;
    bool contiguous = false;  ///< the table knows nothing of it
    block::Extent place;      ///< of a folder without clusters, the root directory of FAT12 and FAT16
};

/// What differs between the two.
class ClusterFormat {
  public:
    static constexpr std::size_t kEntryBytes = 32;

    virtual ~ClusterFormat() = default;
    /// An entry of the table, counted from the beginning of `piece`.
    virtual std::uint32_t table_entry(std::span<const std::byte> piece, std::uint64_t index) const = 0;
    /// The entries of this folder come next, from the first one.
    virtual void enter(const ClusterFile& folder) = 0;
    /// The entries of the folder above go on.
    virtual void leave() = 0;
    /// The next entry is not the one behind the last: some could not be read.
    virtual void resume() = 0;
    /// The next entry, which is not the mark of the end. Returns the file of which it is the last one.
    virtual std::optional<ClusterFile> take(std::span<const std::byte> entry) = 0;

    /// Whether all entries could be believed.
    bool complete() const { return complete_; }

  protected:
    std::nullopt_t damaged() {
        complete_ = false;
        return std::nullopt;
    }

  private:
    bool complete_ = true;
};

/// Adds to `tally` what the files below `root` have, and names them.
FileOwners find_cluster_owners(const block::Reader& part, const ClusterLayout& layout, ClusterFormat& format,
                               const ClusterFile& root, OwnerTally& tally);

}  // namespace dupengine::layout

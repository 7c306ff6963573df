#include "image/foreign/qcow2_tables.h"

#include <algorithm>
#include <bit>

#include "image/foreign/qcow2_compressed.h"

namespace dupengine::image {
namespace {

// As QEMU bounds them: docs/interop/qcow2.txt, and the active L1 table no larger than 32 MiB.
constexpr unsigned kLeastClusterBits = 9, kMostClusterBits = 21, kLeastExtendedClusterBits = 14;
constexpr std::uint64_t kMostL1Entries = 4 * kMiB;
constexpr std::uint64_t kL1EntryBytes = 8, kSubclusters = 32, kSector = 512;
constexpr std::uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62, kZero = 1;

struct Header {
    std::uint64_t disk_bytes = 0, cluster_bytes = 0, l1_begin = 0, l1_entries = 0;
    unsigned cluster_bits = 0;
    bool has_zero_clusters = false, has_subclusters = false;
    Qcow2Compression compression = Qcow2Compression::kDeflate;

    std::uint64_t l2_entry_bytes() const { return has_subclusters ? 16 : 8; }
    /// How much of the disk one L2 table tells of; at most 2^39.
    std::uint64_t l2_reach() const { return cluster_bytes / l2_entry_bytes() * cluster_bytes; }
};

class Walk {
  public:
    explicit Walk(const block::Reader& file)
        : file_(file), size_(file.geometry().size_bytes), header_(read_header()) {}

    void look_at_all() {
        const std::uint64_t needed =
            header_.disk_bytes / header_.l2_reach() + (header_.disk_bytes % header_.l2_reach() != 0 ? 1 : 0);
        if (needed > header_.l1_entries || needed > kMostL1Entries)
            refuse("its tables do not reach to the end of its disk");
        require(header_.l1_begin, needed * kL1EntryBytes, "its first table");
        constexpr std::uint64_t kAtOnce = 8192;
        for (std::uint64_t i = 0; i < needed; i += kAtOnce) {
            const std::uint64_t count = std::min(kAtOnce, needed - i);
            const Bytes part = read(header_.l1_begin + i * kL1EntryBytes, count * kL1EntryBytes);
            for (std::uint64_t k = 0; k < count; ++k)
                look_at_table(load_be<std::uint64_t>(part, k * kL1EntryBytes) & kOffsetMask,
                              (i + k) * header_.l2_reach());
        }
    }

  private:
    Header read_header() const {
        constexpr std::uint64_t kMostRead = 112, kHeaderOfVersion2 = 72, kHeaderOfVersion3 = 104;
        constexpr std::uint64_t kExtendedL2 = 16, kCompressionType = 8;
        constexpr std::byte kZstd{1};
        const Bytes begin = read(0, std::min(kMostRead, size_));
        if (begin.size() < kHeaderOfVersion2) refuse("it ends within its header");
        const auto version = load_be<std::uint32_t>(begin, 4);
        if (version >= 3 && begin.size() < kHeaderOfVersion3) refuse("it ends within its header");
        const std::uint64_t features = version >= 3 ? load_be<std::uint64_t>(begin, 72) : 0;
        Header header;
        header.cluster_bits = load_be<std::uint32_t>(begin, 20);
        header.disk_bytes = load_be<std::uint64_t>(begin, 24);
        header.l1_entries = load_be<std::uint32_t>(begin, 36);
        header.l1_begin = load_be<std::uint64_t>(begin, 40);
        header.has_subclusters = (features & kExtendedL2) != 0;
        header.has_zero_clusters = version >= 3 && !header.has_subclusters;
        if ((features & kCompressionType) != 0 && begin.size() > kHeaderOfVersion3 &&
            begin[kHeaderOfVersion3] == kZstd)
            header.compression = Qcow2Compression::kZstd;
        if (header.cluster_bits > kMostClusterBits ||
            header.cluster_bits < (header.has_subclusters ? kLeastExtendedClusterBits : kLeastClusterBits))
            refuse("its clusters are of no size that there is");
        header.cluster_bytes = std::uint64_t{1} << header.cluster_bits;
        return header;
    }

    // `from`: where the part of the disk begins that it tells of.
    void look_at_table(ByteOffset table, ByteOffset from) {
        if (table == 0) return;
        // Each lies in a cluster of its own: or a small file could name one large table without end.
        if (table % header_.cluster_bytes != 0 || ++tables_ > size_ / header_.cluster_bytes + 1)
            refuse("its tables are damaged");
        const std::uint64_t told = std::min(header_.l2_reach(), header_.disk_bytes - from);
        const std::uint64_t entries = align_up(told, header_.cluster_bytes) / header_.cluster_bytes;
        const std::uint64_t entry_bytes = header_.l2_entry_bytes();
        require(table, entries * entry_bytes, "a table");
        const Bytes bytes = read(table, entries * entry_bytes);
        for (std::uint64_t i = 0; i < entries; ++i) {
            const auto entry = load_be<std::uint64_t>(bytes, i * entry_bytes);
            const ByteOffset begin = from + i * header_.cluster_bytes;
            const std::uint64_t wanted = std::min(header_.cluster_bytes, header_.disk_bytes - begin);
            if ((entry & kCompressed) != 0)
                look_at_compressed(entry);
            else if (header_.has_subclusters)
                look_at_subclusters(entry, load_be<std::uint64_t>(bytes, i * entry_bytes + 8), wanted);
            else if (!header_.has_zero_clusters || (entry & kZero) == 0)
                look_at_plain(entry, wanted);
        }
    }

    void look_at_plain(std::uint64_t entry, std::uint64_t wanted) const {
        const ByteOffset begin = entry & kOffsetMask;
        if (begin == 0 || wanted == 0) return;
        if (begin % header_.cluster_bytes != 0) refuse("its tables are damaged");
        require(begin, wanted, "data");
    }
    // The lower half of the bitmap says which of them have data, the first one in the lowest bit.
    void look_at_subclusters(std::uint64_t entry, std::uint64_t bitmap, std::uint64_t wanted) const {
        const auto have_data = static_cast<std::uint32_t>(bitmap);
        const auto last_end = static_cast<std::uint64_t>(std::bit_width(have_data));
        look_at_plain(entry, std::min(wanted, header_.cluster_bytes / kSubclusters * last_end));
    }
    // The entry counts sectors, of which the last one may hold less than it is long. Who does not fill up the
    // end of the file, as qemu-img convert does, writes a sound image: then what is there has to be enough.
    void look_at_compressed(std::uint64_t entry) {
        const unsigned offset_bits = 62 - (header_.cluster_bits - 8);
        const ByteOffset begin = entry & ((std::uint64_t{1} << offset_bits) - 1);
        const std::uint64_t more_sectors = (entry & (kCompressed - 1)) >> offset_bits;
        const ByteOffset end = align_down(begin, kSector) + (more_sectors + 1) * kSector;
        if (end <= size_) return;
        // In one sector there is room for no more of them.
        if (begin >= size_ || end - size_ >= kSector || ++short_ones_ > kSector ||
            !holds_cluster(read(begin, size_ - begin), header_.compression, header_.cluster_bytes))
            require(begin, end - begin, "compressed data");
    }

    void require(ByteOffset begin, std::uint64_t bytes, const char* what) const {
        if (begin > size_ || bytes > size_ - begin)
            refuse(fmt::format("it ends at byte {}, and {} at {} needs {} bytes", size_, what, begin, bytes));
    }
    [[noreturn]] void refuse(const std::string& reason) const {
        throw_error(Code::kSourceIo, "{}: is damaged or cut off as qcow2: {}", file_.name(), reason);
    }
    Bytes read(ByteOffset begin, std::uint64_t bytes) const {
        return block::read_extent(file_, {begin, begin + bytes});
    }

    const block::Reader& file_;
    std::uint64_t size_;
    Header header_;
    std::uint64_t tables_ = 0, short_ones_ = 0;
};

}  // namespace

void refuse_if_cut_off(const block::Reader& file) {
    Walk(file).look_at_all();
}

}  // namespace dupengine::image

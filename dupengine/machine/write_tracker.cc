#include "machine/write_tracker.h"

#include <bpf/bpf.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <write_tracker.skel.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "machine/bpf_complaints.h"
#include "machine/whole_disk.h"

namespace dupengine::machine {
namespace {

// A page of the kernel, and no more than 8 MiB of bits.
constexpr std::uint64_t kSmallestGranule = 4 * kKiB, kMostGranules = std::uint64_t{1} << 26;

std::uint64_t choose_granule(std::uint64_t size_bytes) {
    std::uint64_t granule = kSmallestGranule;
    while (size_bytes / granule > kMostGranules)
        granule *= 2;
    return granule;
}

std::uint64_t take_word(std::uint64_t& word) {
    return std::atomic_ref(word).exchange(0, std::memory_order_acq_rel);
}

}  // namespace

struct WriteTracker::Program {
    write_tracker_program* skeleton = nullptr;
    ~Program() { write_tracker_program__destroy(skeleton); }
};

WriteTracker::WriteTracker(const std::string& disk, std::uint64_t size_bytes)
    : WriteTracker(disk, size_bytes, static_cast<int>(major(whole_disk_number(disk))),
                   static_cast<int>(minor(whole_disk_number(disk)))) {}

std::string WriteTracker::obstacle() {
    try {
        // No disk has the number 0:0.
        const WriteTracker tried("a disk", kMiB, 0, 0);
        return {};
    } catch (const Error& e) {
        return e.what();
    }
}

WriteTracker::WriteTracker(const std::string& disk, std::uint64_t size_bytes, int major, int minor)
    : disk_(disk),
      size_bytes_(size_bytes),
      granule_bytes_(choose_granule(size_bytes)),
      program_(std::make_unique<Program>()) {
    load(major, minor);
}

WriteTracker::~WriteTracker() {
    if (bits_ != nullptr) ::munmap(bits_, words_ * sizeof *bits_);
}

void WriteTracker::load(int major, int minor) {
    keep_bpf_complaints();
    const auto refuse = [this](int error) {
        throw_errno(
            Code::kUnsupported, error,
            "{}: writes to it cannot be watched: this kernel (5.17 or newer is needed, with BTF, and not "
            "locked down) takes no BPF program ({})",
            disk_, last_bpf_complaint());
    };
    auto& skeleton = program_->skeleton;
    skeleton = write_tracker_program__open();
    if (skeleton == nullptr) refuse(errno);
    const std::uint64_t granules = (size_bytes_ + granule_bytes_ - 1) / granule_bytes_;
    words_ = static_cast<std::size_t>((granules + 63) / 64);
    skeleton->rodata->disk_major = major;
    skeleton->rodata->disk_minor = minor;
    skeleton->rodata->granule_shift = static_cast<unsigned>(std::countr_zero(granule_bytes_ / 512));
    skeleton->rodata->granules = granules;
    bpf_map__set_max_entries(skeleton->maps.written, static_cast<unsigned>(words_));
    if (const int error = write_tracker_program__load(skeleton); error != 0) refuse(-error);
    map_bits();
    if (const int error = write_tracker_program__attach(skeleton); error != 0) refuse(-error);
}

void WriteTracker::map_bits() {
    void* bits = ::mmap(nullptr, words_ * sizeof *bits_, PROT_READ | PROT_WRITE, MAP_SHARED,
                        bpf_map__fd(program_->skeleton->maps.written), 0);
    if (bits == MAP_FAILED)
        throw_errno(Code::kUnsupported, errno, "{}: the marks of what was written cannot be read", disk_);
    bits_ = static_cast<std::uint64_t*>(bits);
}

block::ExtentSet WriteTracker::take(std::size_t most_extents) {
    if (std::atomic_ref(program_->skeleton->bss->lost).exchange(0) != 0)
        throw_error(Code::kIntegrity,
                    "{}: a command was passed to it that may have written, and does not tell where (sg, "
                    "nvme, smartctl)",
                    disk_);
    const bool is_all = has_missed();
    block::ExtentSet written;
    for (std::size_t word = 0; word < words_; ++word) {
        std::uint64_t bits = bits_[word] == 0 ? 0 : take_word(bits_[word]);
        for (; bits != 0; bits &= bits - 1) {
            const ByteOffset begin =
                (word * 64 + static_cast<unsigned>(std::countr_zero(bits))) * granule_bytes_;
            written.insert({begin, std::min(begin + granule_bytes_, size_bytes_)});
        }
    }
    if (is_all) return {{0, size_bytes_}};
    for (std::uint64_t gap = 4 * granule_bytes_; written.count() > most_extents; gap *= 4)
        written = written.bridged(gap);
    return written;
}

// A program that is running on a processor is not run there once more: an interrupt that brings another
// completion just then passes unseen, and the kernel counts it.
bool WriteTracker::has_missed() {
    bpf_prog_info info{};
    unsigned size = sizeof info;
    const int fd = bpf_program__fd(program_->skeleton->progs.on_complete);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: the kernel does not say whether it missed writes", disk_);
    return std::exchange(missed_, info.recursion_misses) != info.recursion_misses;
}

std::uint64_t WriteTracker::pending_bytes(const block::ExtentSet& without) const {
    std::uint64_t granules = 0;
    for (std::size_t word = 0; word < words_; ++word)
        granules += static_cast<unsigned>(
            std::popcount(std::atomic_ref(bits_[word]).load(std::memory_order_relaxed)));
    for (const block::Extent e : without)
        for (std::uint64_t g = align_up(e.begin, granule_bytes_) / granule_bytes_; g < e.end / granule_bytes_;
             ++g)
            granules -= std::atomic_ref(bits_[g / 64]).load(std::memory_order_relaxed) >> (g % 64) & 1;
    return granules * granule_bytes_;
}

}  // namespace dupengine::machine

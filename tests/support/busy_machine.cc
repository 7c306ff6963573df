#include "tests/support/busy_machine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "block/open.h"
#include "machine/disk_uses.h"

namespace dupengine::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kFiles = 8, kFileBytes = 32 * kKiB;

PausesSeen& shared_seen() {
    void* room =
        ::mmap(nullptr, sizeof(PausesSeen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory");
    return *new (room) PausesSeen;
}

Bytes content_of(const Fd& fd) {
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) throw_errno(Code::kInternal, errno, "what was kept");
    Bytes bytes(static_cast<std::size_t>(st.st_size));
    pread_exact(fd.get(), 0, bytes, Code::kInternal, "what was kept");
    return bytes;
}

// Keeps what it gives.
class KeptSnapshot final : public machine::SnapshotMaker {
  public:
    KeptSnapshot(const FakeMemory& memory, const Fd& kept) : memory_(memory), kept_(kept) {}
    void freeze() override {}
    bool create() override {
        image_ = memory_.image();
        Bytes all;
        for (const Bytes& page : image_)
            all.insert(all.end(), page.begin(), page.end());
        if (::ftruncate(kept_.get(), 0) != 0) throw_errno(Code::kInternal, errno, "the image");
        pwrite_exact(kept_.get(), 0, all, Code::kInternal, "the image");
        return true;
    }
    bool next_page(std::span<std::byte> page) override {
        if (next_ == image_.size()) return false;
        std::ranges::copy(image_[next_++], page.begin());
        return true;
    }
    void free_image() noexcept override {}
    void thaw() noexcept override {}

  private:
    const FakeMemory& memory_;
    const Fd& kept_;
    std::vector<Bytes> image_;
    std::size_t next_ = 0;
};

}  // namespace

BusyMachine::BusyMachine()
    : loop_(folder_.sparse_file("disk.img", kDiskBytes)),
      seen_(shared_seen()),
      disk_(::memfd_create("disk at rest", MFD_CLOEXEC)),
      image_(::memfd_create("image at rest", MFD_CLOEXEC)) {
    must_run({"sgdisk", "-n1:1M:+16M", "-c1:root", loop_.path()});
    nodes_.emplace(loop_);
    must_run({"mkfs.ext4", "-q", loop_.path() + "p1"});
    mount_.emplace(loop_.path() + "p1", folder_.file("root"));
    must_run({"dd", "if=/dev/urandom", "of=" + file("large"), "bs=1M", "count=3", "status=none"});
    SeededRandom random(1);
    memory_.fill(random);
    reader_ = block::open_source(loop_.path());
    program_ = std::jthread([this](const std::stop_token& over) { work(over); });
}

BusyMachine::~BusyMachine() {
    program_ = {};
    ::munmap(&seen_, sizeof seen_);
}

// Writes to files in turn, flushes each, and to pages of memory.
void BusyMachine::work(const std::stop_token& over) {
    std::array<Fd, kFiles> files;
    for (std::size_t i = 0; i < kFiles; ++i)
        files[i] = open_path(file("file" + std::to_string(i)), O_WRONLY | O_CREAT, Code::kInternal);
    Bytes content(kFileBytes);
    while (!over.stop_requested()) {
        const std::uint64_t step = steps_;
        store_le<std::uint64_t>(content, step % kFiles * 4096, step);
        const auto begin = Clock::now();
        const Fd& at = files[step % kFiles];
        if (::pwrite(at.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()) ||
            ::fsync(at.get()) != 0)
            ++errors_;
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
        longest_ms_ = std::max<std::int64_t>(longest_ms_, took.count());
        memory_.scribble(FakeMemory::kSecond + step % 200, step);
        ++steps_;
        std::this_thread::sleep_for(2ms);
    }
}

// In the live process.
void BusyMachine::keep_disk() const {
    Bytes all(kDiskBytes);
    reader_->read_from_medium(0, all);
    pwrite_exact(disk_.get(), 0, all, Code::kInternal, "the disk at rest");
}

machine::LiveOptions BusyMachine::options() {
    machine::LiveOptions options;
    options.proc = memory_.proc();
    options.most_kept_pages = 16;
    options.look_at_uses = [this] { return machine::look_at_uses(loop_.path()); };
    options.prepare = [this] { ++seen_.prepared; };
    options.resume = [this](bool is_done) {
        ++(is_done ? seen_.resumed : seen_.aborted);
        return std::vector<std::string>();
    };
    options.abort_all = [this] { ++seen_.aborted; };
    options.on_rest = [this] {
        keep_disk();
        seen_.is_at_rest = true;
        const auto end = Clock::now() + PausesSeen::kLongestHold;
        while (seen_.is_held && Clock::now() < end)
            std::this_thread::sleep_for(1ms);
    };
    options.close_gate = [this] { ++seen_.gate_closed; };
    options.open_gate = [this] { ++seen_.gate_opened; };
    options.make_snapshot = [this] { return std::make_unique<KeptSnapshot>(memory_, image_); };
    return options;
}

void BusyMachine::start_over() {
    new (&seen_) PausesSeen;
    longest_ms_ = 0;
}

bool BusyMachine::is_at_work() const {
    const std::uint64_t before = steps_;
    for (int i = 0; i < 2000 && steps_ < before + 3; ++i)
        std::this_thread::sleep_for(5ms);
    return steps_ >= before + 3 && errors_ == 0;
}

std::chrono::milliseconds BusyMachine::longest_stall() const {
    return std::chrono::milliseconds(longest_ms_);
}

Bytes BusyMachine::disk_at_rest() const {
    return content_of(disk_);
}

Bytes BusyMachine::image_at_rest() const {
    return content_of(image_);
}

}  // namespace dupengine::test

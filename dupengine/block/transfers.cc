#include "block/transfers.h"

#include <liburing.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <cerrno>
#include <utility>

namespace dupengine::block {
namespace {

// Large pages make fewer and longer segments of a transfer, and fewer entries of the device's list of them.
constexpr std::size_t kLargePage = 2 * kMiB;

std::span<std::byte> map_memory(std::size_t size) {
    const std::size_t whole = align_up(size, kLargePage);
    void* at = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    ::madvise(at, whole, MADV_HUGEPAGE);
    return {static_cast<std::byte*>(at), whole};
}

}  // namespace

struct Transfers::Ring {
    io_uring ring{};
    bool registered = false;  // the buffers are pinned once, not at every transfer

    // Null if the kernel has no io_uring, or an administrator has turned it off.
    static std::unique_ptr<Ring> make(unsigned entries, std::span<std::byte> memory) {
        auto made = std::make_unique<Ring>();
        // One thread hands in and waits: completions need no interrupt of it (Linux 6.0; older ones refuse).
        constexpr unsigned kQuiet = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
        if (io_uring_queue_init(entries, &made->ring, kQuiet) != 0 &&
            io_uring_queue_init(entries, &made->ring, 0) != 0) {
            made->ring.ring_fd = -1;
            return nullptr;
        }
        const iovec whole{memory.data(), memory.size()};
        made->registered = io_uring_register_buffers(&made->ring, &whole, 1) == 0;
        return made;
    }
    Ring() { ring.ring_fd = -1; }
    ~Ring() {
        if (ring.ring_fd >= 0) io_uring_queue_exit(&ring);
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
};

Transfers::Transfers(std::size_t buffer_bytes, unsigned most) : memory_(map_memory(buffer_bytes)) {
    transfers_.resize(most);
    for (unsigned place = most; place > 0; --place)
        free_.push_back(place - 1);
}

Transfers::~Transfers() {
    // The kernel may still write into the buffers.
    while (ring_ && under_way_ != 0) {
        io_uring_cqe* entry = nullptr;
        const int error = io_uring_submit_and_wait(&ring_->ring, 1);
        if (error < 0 && error != -EINTR) break;
        while (io_uring_peek_cqe(&ring_->ring, &entry) == 0) {
            io_uring_cqe_seen(&ring_->ring, entry);
            --under_way_;
        }
    }
    ring_.reset();
    ::munmap(memory_.data(), memory_.size());
}

// The ring is made for the first transfer that takes part: pinning its buffers fills all of them with memory,
// and where every device transfers at once only a few are ever touched.
bool Transfers::start(const Transfer& transfer, int fd) {
    if (!std::exchange(asked_for_ring_, true))
        ring_ = Ring::make(static_cast<unsigned>(transfers_.size()), memory_);
    if (!ring_ || free_.empty()) return false;
    io_uring_sqe* entry = io_uring_get_sqe(&ring_->ring);
    if (entry == nullptr) return false;
    const auto size = static_cast<unsigned>(transfer.size);
    if (ring_->registered && transfer.is_write)
        io_uring_prep_write_fixed(entry, fd, transfer.begin, size, transfer.offset, 0);
    else if (ring_->registered)
        io_uring_prep_read_fixed(entry, fd, transfer.begin, size, transfer.offset, 0);
    else if (transfer.is_write)
        io_uring_prep_write(entry, fd, transfer.begin, size, transfer.offset);
    else
        io_uring_prep_read(entry, fd, transfer.begin, size, transfer.offset);
    const unsigned place = free_.back();
    free_.pop_back();
    transfers_[place] = transfer;
    io_uring_sqe_set_data64(entry, place);
    ++under_way_;
    return true;
}

bool Transfers::start_read(std::uint64_t tag, int fd, ByteOffset offset, std::span<std::byte> buffer,
                           const Finisher& finisher) {
    return start({tag, &finisher, offset, buffer.data(), buffer.size(), false}, fd);
}

bool Transfers::start_write(std::uint64_t tag, int fd, ByteOffset offset, std::span<const std::byte> buffer,
                            const Finisher& finisher) {
    // A transfer holds one kind of pointer for both directions; the kernel only reads from this one.
    return start({tag, &finisher, offset, const_cast<std::byte*>(buffer.data()), buffer.size(), true}, fd);
}

bool Transfers::any_done() const {
    return !done_.empty() || (ring_ && io_uring_cq_ready(&ring_->ring) != 0);
}

Transfers::Done Transfers::wait() {
    if (!done_.empty()) {
        const std::uint64_t tag = done_.front();
        done_.pop_front();
        return {tag, nullptr};
    }
    if (!ring_ || under_way_ == 0)
        throw_error(Code::kInternal, "waited for a transfer that was never started");
    io_uring_cqe* entry = nullptr;
    // What was handed in goes to the kernel in one call, and here at the latest.
    while (io_uring_sq_ready(&ring_->ring) != 0 || io_uring_peek_cqe(&ring_->ring, &entry) != 0) {
        const int error = io_uring_submit_and_wait(&ring_->ring, 1);
        if (error < 0 && error != -EINTR && error != -EAGAIN && error != -EBUSY)
            throw_errno(Code::kInternal, -error, "the kernel takes no more transfers");
        if (io_uring_peek_cqe(&ring_->ring, &entry) == 0) break;
    }
    const auto place = static_cast<unsigned>(io_uring_cqe_get_data64(entry));
    const int result = entry->res;
    io_uring_cqe_seen(&ring_->ring, entry);
    --under_way_;
    free_.push_back(place);
    const Transfer& t = transfers_[place];
    const std::size_t moved = result > 0 ? static_cast<std::size_t>(result) : 0;
    if (moved == t.size) return {t.tag, nullptr};
    try {
        const std::span<std::byte> rest(t.begin + moved, t.size - moved);
        const int error = result < 0 ? -result : 0;
        if (t.is_write)
            t.finisher->finish_write(t.offset + moved, rest, error);
        else
            t.finisher->finish_read(t.offset + moved, rest, error);
    } catch (...) {
        return {t.tag, std::current_exception()};
    }
    return {t.tag, nullptr};
}

}  // namespace dupengine::block

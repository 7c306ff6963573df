#include "machine/live_process.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <new>

#include "machine/live_child.h"

namespace dupengine::machine {
namespace {

// The child's words; it is our own, but a short one is found.
class RestReader {
  public:
    explicit RestReader(Bytes bytes) : bytes_(std::move(bytes)) {}
    std::uint64_t number() { return load_le<std::uint64_t>(take(8), 0); }
    std::span<const std::byte> take(std::uint64_t size) {
        if (size > bytes_.size() - at_) throw_error(Code::kInternal, "the last changes of the disk are cut");
        at_ += size;
        return std::span(bytes_).subspan(at_ - size, size);
    }

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace

LiveProcess::LiveProcess(HotDisk& hot, LiveOptions options)
    : options_(std::move(options)), letter_(options_.key) {
    const PhysicalMemory memory(options_.proc);
    shape_ = {memory.span_pages(), memory.ram_pages(), options_.key};
    void* shared = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw_errno(Code::kInternal, errno, "no memory for the live process");
    shared_ = new (shared) Shared;
    rest_ = Fd(::memfd_create("dupengine last changes", MFD_CLOEXEC));
    int ends[2];
    if (!rest_.valid() || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw_errno(Code::kInternal, errno, "no socket for the live process");
    socket_ = Fd(ends[0]);
    Fd other(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) throw_errno(Code::kInternal, errno, "the live process cannot be started");
    if (pid_ == 0) {
        socket_ = Fd();
        try {
            Child(hot, options_, memory, letter_, *shared_, rest_.get()).run(other.get());
        } catch (const std::exception&) {
            ::_exit(1);
        }
    }
}

LiveProcess::~LiveProcess() {
    socket_ = Fd();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
}

void LiveProcess::throw_gone() const {
    // It died while nobody could tell which machine this is: it may be the duplicate, which nobody made
    // somebody else. Nothing goes on here, and nothing is opened.
    while (shared_->may_be_elsewhere)
        ::pause();
    options_.open_gate();
    if (shared_->may_be_prepared.exchange(false)) options_.abort_all();
    throw_error(Code::kRefused,
                "the process that duplicates memory was ended (by a pause of more than {} s, or for want of "
                "memory); this machine goes on as it was",
                std::chrono::duration<double>(options_.deadline).count());
}

LiveProcess::Reply LiveProcess::ask(Order order) {
    Reply reply;
    if (::send(socket_.get(), &order, sizeof order, MSG_NOSIGNAL) != sizeof order) throw_gone();
    ssize_t got = -1;
    do
        got = ::recv(socket_.get(), &reply, sizeof reply, 0);
    while (got < 0 && errno == EINTR);
    if (got != sizeof reply) throw_gone();
    if (reply.code != Code{}) throw Error(reply.code, reply.text);
    pass_ = reply.pass;
    image_ = reply.image;
    return reply;
}

void LiveProcess::begin_pass() {
    ask(Order::kBeginPass);
}

std::span<const std::byte> LiveProcess::next() {
    return std::span(shared_->group).first(ask(Order::kNext).group_bytes);
}

std::span<const std::byte> LiveProcess::next_of_image() {
    return std::span(shared_->group).first(ask(Order::kNextOfImage).group_bytes);
}

AtRest LiveProcess::read_rest() const {
    struct stat st {};
    if (::fstat(rest_.get(), &st) != 0) throw_errno(Code::kInternal, errno, "the last changes of the disk");
    Bytes bytes(static_cast<std::size_t>(st.st_size));
    pread_exact(rest_.get(), 0, bytes, Code::kInternal, "the last changes of the disk");
    RestReader reader(std::move(bytes));
    AtRest rest;
    rest.is_moment = reader.number() != 0;
    for (std::uint64_t left = reader.number(); left > 0; --left)
        rest.notes.emplace_back(as_text(reader.take(reader.number())));
    for (std::uint64_t left = reader.number(); left > 0; --left) {
        const std::uint64_t begin = reader.number();
        rest.extents.insert({begin, reader.number()});
    }
    for (std::uint64_t left = reader.number(); left > 0; --left) {
        const std::uint64_t offset = reader.number();
        const auto held = reader.take(reader.number());
        rest.held.emplace(offset, Bytes(held.begin(), held.end()));
    }
    if (::ftruncate(rest_.get(), 0) != 0) throw_errno(Code::kInternal, errno, "the last changes of the disk");
    return rest;
}

LiveProcess::Blackout LiveProcess::black_out() {
    // What copying the disks took, and is free again, would be in the image.
    ::malloc_trim(0);
    Blackout blackout;
    blackout.pause = ask(Order::kBlackOut).pause;
    blackout.rest = read_rest();
    blackout.rest.pause = blackout.pause.total();
    return blackout;
}

}  // namespace dupengine::machine

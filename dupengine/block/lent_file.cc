#define FUSE_USE_VERSION 312
#include "block/lent_file.h"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace dupengine::block {
namespace {

constexpr fuse_ino_t kTheFile = FUSE_ROOT_ID;  // the root of this file system is no folder
constexpr double kForeverSeconds = 3600;       // nobody else changes its attributes

// A mount that is attached nowhere; its descriptor opens the root, which is the file.
Fd detached_mount(int fuse_fd) {
    const Fd context(::fsopen("fuse", FSOPEN_CLOEXEC));
    if (!context.valid())
        throw_errno(Code::kUnsupported, errno, "a file cannot be lent to programs: no FUSE, or not root");
    const std::string fd = std::to_string(fuse_fd);
    const std::array<std::array<const char*, 2>, 5> settings{{{"source", "dupengine"},
                                                              {"fd", fd.c_str()},
                                                              {"rootmode", "0100600"},
                                                              {"user_id", "0"},
                                                              {"group_id", "0"}}};
    for (const auto& [key, value] : settings)
        if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0)
            throw_errno(Code::kUnsupported, errno, "FUSE does not take {}={}", key, value);
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
        throw_errno(Code::kUnsupported, errno, "FUSE cannot be mounted");
    Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
    if (!mount.valid()) throw_errno(Code::kUnsupported, errno, "FUSE cannot be mounted");
    return mount;
}

void say_nothing(fuse_log_level, const char*, va_list) {}

}  // namespace

struct LentFile::Service {
    explicit Service(Overlay& shown) : overlay(shown), size(shown.geometry().size_bytes) {}
    ~Service();

    void start();
    void serve();
    void remember_error(std::exception_ptr& which);
    struct stat attributes() const;

    // What the kernel asks for; `service` is the session's user data.
    static Service& of(fuse_req_t request) { return *static_cast<Service*>(fuse_req_userdata(request)); }
    static void get_attributes(fuse_req_t request, fuse_ino_t, fuse_file_info*);
    static void set_attributes(fuse_req_t request, fuse_ino_t, struct stat* wanted, int which,
                               fuse_file_info*);
    static void open(fuse_req_t request, fuse_ino_t, fuse_file_info* file);
    static void read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*);
    static void write(fuse_req_t request, fuse_ino_t, const char* bytes, size_t size, off_t offset,
                      fuse_file_info*);
    static void sync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(request, 0); }

    Overlay& overlay;
    std::atomic<std::uint64_t> size;
    Fd stop, mount;
    fuse_session* session = nullptr;
    Bytes buffer;
    mutable std::mutex mutex;
    std::exception_ptr read_error, write_error;  // the first of each
    std::thread thread;
};

LentFile::Service::~Service() {
    if (thread.joinable()) {
        const std::uint64_t one = 1;
        // An eventfd takes it; the service is waited for in any case.
        [[maybe_unused]] const ssize_t written = ::write(stop.get(), &one, sizeof one);
        thread.join();
    }
    // Closes /dev/fuse as well: a program that still holds the file gets an error from it, and does not hang.
    if (session != nullptr) fuse_session_destroy(session);
}

void LentFile::Service::start() {
    static const fuse_lowlevel_ops kOperations = [] {
        fuse_lowlevel_ops operations{};
        operations.getattr = get_attributes;
        operations.setattr = set_attributes;
        operations.open = open;
        operations.read = read;
        operations.write = write;
        operations.fsync = sync;
        return operations;
    }();
    fuse_set_log_func(say_nothing);
    stop = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!stop.valid()) throw_errno(Code::kInternal, errno, "no event descriptor");
    Fd fuse = open_path("/dev/fuse", O_RDWR, Code::kUnsupported);
    mount = detached_mount(fuse.get());
    std::array<char, 10> program{"dupengine"};
    std::array<char*, 1> argv{program.data()};
    fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
    session = fuse_session_new(&arguments, &kOperations, sizeof kOperations, this);
    fuse_opt_free_args(&arguments);
    if (session == nullptr) throw_error(Code::kUnsupported, "libfuse cannot be used");
    // libfuse's way to name a descriptor that is mounted already; the session closes it.
    if (fuse_session_mount(session, fmt::format("/dev/fd/{}", fuse.get()).c_str()) != 0)
        throw_error(Code::kUnsupported, "libfuse does not take an open descriptor");
    static_cast<void>(fuse.release());
    thread = std::thread([this] { serve(); });
}

void LentFile::Service::serve() {
    fuse_buf request{};
    std::array<pollfd, 2> polled{{{stop.get(), POLLIN, 0}, {fuse_session_fd(session), POLLIN, 0}}};
    while (fuse_session_exited(session) == 0) {
        if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
        if (polled[0].revents != 0) break;
        if (polled[1].revents == 0) continue;
        const int got = fuse_session_receive_buf(session, &request);
        if (got == -EINTR || got == -EAGAIN) continue;
        if (got <= 0) break;
        fuse_session_process_buf(session, &request);
    }
    std::free(request.mem);  // libfuse's, from malloc
}

void LentFile::Service::remember_error(std::exception_ptr& which) {
    const std::lock_guard lock(mutex);
    if (!which) which = std::current_exception();
}

struct stat LentFile::Service::attributes() const {
    struct stat file {};
    file.st_ino = kTheFile;
    file.st_mode = S_IFREG | 0600;
    file.st_nlink = 1;
    file.st_size = static_cast<off_t>(size.load());
    file.st_blksize = 4096;
    file.st_blocks = file.st_size / 512;
    return file;
}

void LentFile::Service::get_attributes(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
    const struct stat file = of(request).attributes();
    fuse_reply_attr(request, &file, kForeverSeconds);
}

// resize2fs cuts a file to the filesystem's new size.
void LentFile::Service::set_attributes(fuse_req_t request, fuse_ino_t, struct stat* wanted, int which,
                                       fuse_file_info*) {
    Service& service = of(request);
    if ((which & FUSE_SET_ATTR_SIZE) != 0) {
        const auto size_wanted = static_cast<std::uint64_t>(std::max<off_t>(wanted->st_size, 0));
        if (size_wanted > service.size) {
            fuse_reply_err(request, EFBIG);
            return;
        }
        service.size = size_wanted;
    }
    const struct stat file = service.attributes();
    fuse_reply_attr(request, &file, kForeverSeconds);
}

void LentFile::Service::open(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
    file->keep_cache = 1;
    fuse_reply_open(request, file);
}

void LentFile::Service::read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
    Service& service = of(request);
    const std::uint64_t whole = service.size;
    const auto begin = std::min(static_cast<std::uint64_t>(offset), whole);
    try {
        service.buffer.resize(std::min<std::uint64_t>(size, whole - begin));
        service.overlay.read(begin, service.buffer);
    } catch (...) {
        service.remember_error(service.read_error);
        fuse_reply_err(request, EIO);
        return;
    }
    fuse_reply_buf(request, reinterpret_cast<const char*>(service.buffer.data()), service.buffer.size());
}

void LentFile::Service::write(fuse_req_t request, fuse_ino_t, const char* bytes, size_t size, off_t offset,
                              fuse_file_info*) {
    Service& service = of(request);
    const std::uint64_t whole = service.size;
    if (static_cast<std::uint64_t>(offset) > whole || whole - static_cast<std::uint64_t>(offset) < size) {
        fuse_reply_err(request, ENOSPC);  // it is a disk, and does not grow
        return;
    }
    try {
        service.overlay.write(static_cast<std::uint64_t>(offset), as_bytes(std::string_view(bytes, size)));
    } catch (...) {
        service.remember_error(service.write_error);
        fuse_reply_err(request, EIO);
        return;
    }
    fuse_reply_write(request, size);
}

LentFile::LentFile(Overlay& overlay) : service_(std::make_unique<Service>(overlay)) {
    service_->start();
    path_ = fmt::format("/proc/{}/fd/{}", ::getpid(), service_->mount.get());
}

LentFile::~LentFile() = default;

void LentFile::rethrow_error(Program program) const {
    const std::lock_guard lock(service_->mutex);
    if (service_->write_error) std::rethrow_exception(service_->write_error);
    if (service_->read_error && program == Program::kFailed) std::rethrow_exception(service_->read_error);
}

}  // namespace dupengine::block

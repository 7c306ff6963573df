#include "steps.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <stdexcept>

namespace dupengine::live {

std::uint64_t next_sum(std::uint64_t sum, std::uint64_t step) {
    std::uint64_t mixed = sum + step * 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
}

std::string node_name() {
    char name[256] = {};
    return ::gethostname(name, sizeof name - 1) == 0 && name[0] != 0 ? name : "?";
}

// Boot time goes on while a machine is suspended, so a pause shows.
std::uint64_t milliseconds() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
}

void sleep_until(std::uint64_t moment_ms) {
    for (std::uint64_t now = milliseconds(); now < moment_ms; now = milliseconds())
        ::usleep(static_cast<useconds_t>(moment_ms - now) * 1000);
}

bool write_fully(int fd, const void* bytes, std::size_t size, std::uint64_t offset) {
    const auto* from = static_cast<const char*>(bytes);
    while (size > 0) {
        const ssize_t done = ::pwrite(fd, from, size, static_cast<off_t>(offset));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        from += done;
        size -= static_cast<std::size_t>(done);
        offset += static_cast<std::uint64_t>(done);
    }
    return true;
}

bool read_fully(int fd, void* bytes, std::size_t size, std::uint64_t offset) {
    auto* to = static_cast<char*>(bytes);
    while (size > 0) {
        const ssize_t done = ::pread(fd, to, size, static_cast<off_t>(offset));
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = ENODATA;
        if (done <= 0) return false;
        to += done;
        size -= static_cast<std::size_t>(done);
        offset += static_cast<std::uint64_t>(done);
    }
    return true;
}

Steps::Steps(std::string folder, std::string name, Keep keep)
    : folder_(std::move(folder)), name_(std::move(name)), keep_(keep) {
    const std::string path = folder_ + "/" + name_ + ".steps";
    ::unlink((folder_ + "/" + name_ + ".errors").c_str());
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file_ < 0) throw std::runtime_error(path + ": " + std::strerror(errno));
}

Steps::~Steps() {
    ::close(file_);
}

void Steps::step() {
    check_memory();
    ++step_;
    sum_ = next_sum(sum_, step_);
    not_step_ = ~step_;
    not_sum_ = ~sum_;
    const std::string node = node_name();
    if (node != node_) tell("step " + std::to_string(step_) + " on " + node);
    node_ = node;
    const std::string line = std::to_string(step_) + " " + node + " " + std::to_string(milliseconds()) + " " +
                             std::to_string(sum_) + "\n";
    if (!write_fully(file_, line.data(), line.size(), file_bytes_))
        fail(std::string("its steps cannot be written: ") + std::strerror(errno));
    else if (keep_ == Keep::kDurable)
        check_file(line);
    file_bytes_ += line.size();
}

void Steps::check_memory() {
    if (step_ == ~not_step_ && sum_ == ~not_sum_) return;
    fail("its memory is not what it was");
    not_step_ = ~step_;
    not_sum_ = ~sum_;
}

// Not from the cache: that came with the memory, whatever the disk is.
void Steps::check_file(const std::string& line) {
    std::string read(line.size(), '\0');
    if (::fsync(file_) != 0) fail(std::string("fsync: ") + std::strerror(errno));
    ::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);
    if (!read_fully(file_, read.data(), read.size(), file_bytes_))
        fail(std::string("its steps cannot be read: ") + std::strerror(errno));
    else if (read != line)
        fail("its file does not hold what was written");
}

void Steps::fail(const std::string& what) {
    const std::string line = "error at step " + std::to_string(step_) + " on " + node_name() + ": " + what;
    tell(line);
    const int fd =
        ::open((folder_ + "/" + name_ + ".errors").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const std::string text = line + "\n";
    if (fd < 0 || ::write(fd, text.data(), text.size()) < 0) tell("its errors cannot be written");
    if (fd >= 0) ::close(fd);
}

void Steps::tell(std::string_view what) const {
    const std::string line = "workload " + name_ + ": " + std::string(what) + "\n";
    // Where that fails nobody is left to be told.
    if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

}  // namespace dupengine::live

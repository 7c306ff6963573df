// What any program must at least do, and how others are measured. Built and called by copy.sh.
//
// floor memcpy:              copies 1 GiB in memory
// floor copy SOURCE TARGET:  one thread reads the data extents of a sparse file and writes them; looks at
//                            nothing
// floor compare A B:         two threads read both (devices by O_DIRECT), and compare
// floor run OUT COMMAND...:  runs COMMAND, appends "WALL|CPU|RSS" (seconds, seconds, KiB) to the file OUT

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kChunk = 1 << 20;

struct Free {
    void operator()(char* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<char, Free>;

Buffer make_buffer(std::size_t size) {
    return Buffer(static_cast<char*>(std::aligned_alloc(4096, size)));
}

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    std::exit(1);
}

int open_or_fail(const char* path, int flags) {
    const int fd = ::open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0) fail(path);
    return fd;
}

void copy_memory() {
    const std::size_t size = std::size_t{1} << 30;
    const Buffer from = make_buffer(size), to = make_buffer(size);
    std::memset(from.get(), 1, size);
    std::memset(to.get(), 2, size);
    const auto begin = std::chrono::steady_clock::now();
    std::memcpy(to.get(), from.get(), size);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::printf("%.2f GB/s %d\n", static_cast<double>(size) / seconds.count() / 1e9, to.get()[size / 2]);
}

void copy_file(const char* source, const char* target) {
    const int from = open_or_fail(source, O_RDONLY), to = open_or_fail(target, O_WRONLY);
    const Buffer buffer = make_buffer(kChunk);
    for (off_t end = 0;;) {
        off_t at = ::lseek(from, end, SEEK_DATA);
        if (at < 0) {
            if (errno == ENXIO) return;  // only a hole is left
            fail(source);
        }
        end = ::lseek(from, at, SEEK_HOLE);
        while (at < end) {
            const ssize_t n = ::pread(from, buffer.get(),
                                      std::min<std::size_t>(kChunk, static_cast<std::size_t>(end - at)), at);
            if (n <= 0 || ::pwrite(to, buffer.get(), static_cast<std::size_t>(n), at) != n) fail(target);
            at += n;
        }
    }
}

int open_to_compare(const char* path) {
    struct stat st {};
    const bool is_device = ::stat(path, &st) == 0 && S_ISBLK(st.st_mode);
    return open_or_fail(path, O_RDONLY | (is_device ? O_DIRECT : 0));
}

int compare_files(const char* a_path, const char* b_path) {
    const int a = open_to_compare(a_path), b = open_to_compare(b_path);
    const off_t size = ::lseek(a, 0, SEEK_END);
    std::atomic<off_t> next{0};
    std::atomic<unsigned> different{0};
    const auto work = [&] {
        const Buffer x = make_buffer(kChunk), y = make_buffer(kChunk);
        for (off_t at; (at = next.fetch_add(kChunk)) < size;) {
            const ssize_t n = ::pread(a, x.get(), kChunk, at);
            if (n <= 0 || ::pread(b, y.get(), kChunk, at) != n) fail(b_path);
            if (std::memcmp(x.get(), y.get(), static_cast<std::size_t>(n)) != 0) ++different;
        }
    };
    std::thread other(work);
    work();
    other.join();
    std::printf("%u of %ld MiB differ\n", different.load(), static_cast<long>(size >> 20));
    return 0;
}

int run(const char* out, char** command) {
    const auto begin = std::chrono::steady_clock::now();
    const pid_t child = ::fork();
    if (child == 0) {
        ::execvp(command[0], command);
        std::perror(command[0]);
        ::_exit(127);
    }
    int status = 0;
    rusage used{};
    if (child < 0 || ::wait4(child, &status, 0, &used) < 0) fail(command[0]);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    std::FILE* file = std::fopen(out, "a");
    if (file == nullptr) fail(out);
    std::fprintf(file, "%.3f|%.3f|%ld\n", wall.count(), seconds(used.ru_utime) + seconds(used.ru_stime),
                 used.ru_maxrss);
    std::fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "memcpy") return copy_memory(), 0;
    if (verb == "copy" && argc == 4) return copy_file(argv[2], argv[3]), 0;
    if (verb == "compare" && argc == 4) return compare_files(argv[2], argv[3]);
    if (verb == "run" && argc > 3) return run(argv[2], argv + 3);
    std::fprintf(stderr, "usage: floor memcpy | copy SOURCE TARGET | compare A B | run OUT COMMAND...\n");
    return 2;
}

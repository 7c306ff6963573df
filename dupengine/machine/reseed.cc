#include "machine/reseed.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "base/error.h"
#include "base/fd.h"
#include "codec/digest.h"

namespace dupengine::machine {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kProcessorBytes = 64;
// The kernel may have kept bytes that it had read before the memory was taken (hw_random's buffers, at most
// 128 bytes each): those are the source's. What comes behind them is this machine's.
constexpr std::size_t kKeptBytes = 512, kHardwareBytes = 64;
constexpr unsigned kJitterSamples = 512;

#if defined(__x86_64__)
// As the processor names its instructions (Intel SDM volume 2, CPUID).
constexpr unsigned kHasRdrand = 1U << 30, kHasRdseed = 1U << 18;

__attribute__((target("rdseed"))) bool seed_word(unsigned long long& word) {
    return _rdseed64_step(&word) != 0;
}
__attribute__((target("rdrnd"))) bool random_word(unsigned long long& word) {
    return _rdrand64_step(&word) != 0;
}

bool has_rdseed() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kHasRdseed) != 0;
}
bool has_rdrand() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kHasRdrand) != 0;
}

bool fill_from(bool (*next)(unsigned long long&), std::span<std::byte> bytes) {
    constexpr int kMostAttempts = 1000;  // it runs dry where many draw
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(unsigned long long)) {
        unsigned long long word = 0;
        int attempts = 0;
        while (!next(word))
            if (++attempts == kMostAttempts) return false;
        std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
    }
    return true;
}

// Some processors give the same word for ever after they were asleep, and call it good.
bool varies(std::span<const std::byte> bytes) {
    constexpr std::size_t kWord = sizeof(unsigned long long);
    for (std::size_t at = kWord; at + kWord <= bytes.size(); at += kWord)
        if (std::memcmp(bytes.data() + at, bytes.data() + at - kWord, kWord) != 0) return true;
    return false;
}

bool fill_from_processor(std::span<std::byte> bytes) {
    return (has_rdseed() && fill_from(seed_word, bytes) && varies(bytes)) ||
           (has_rdrand() && fill_from(random_word, bytes) && varies(bytes));
}

std::uint64_t ticks() {
    return __builtin_ia32_rdtsc();
}
#else
bool fill_from_processor(std::span<std::byte>) {
    return false;
}

std::uint64_t ticks() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}
#endif

void append(Bytes& bytes, std::span<const std::byte> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

// All clocks, and how long the processor takes for what should always take as long. Worth something, but
// proves nothing.
Bytes time_and_jitter() {
    Bytes bytes;
    for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME}) {
        timespec now{};
        ::clock_gettime(clock, &now);
        append(bytes, std::as_bytes(std::span(&now, 1)));
    }
    std::array<std::uint64_t, kJitterSamples> samples;
    for (std::uint64_t& sample : samples) {
        std::this_thread::yield();
        sample = ticks();
    }
    append(bytes, codec::sha256(std::as_bytes(std::span(samples))));
    return bytes;
}

// Empty if it does not give enough soon: nobody may wait for a device that is not there any more.
Bytes from_hardware(const std::string& path) {
    const Fd device(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    Bytes bytes(kKeptBytes + kHardwareBytes);
    const auto deadline = std::chrono::steady_clock::now() + 1s;
    for (std::size_t filled = 0; device.valid() && filled < bytes.size();) {
        const ssize_t n = ::read(device.get(), bytes.data() + filled, bytes.size() - filled);
        if (n > 0) filled += static_cast<std::size_t>(n);
        if (filled == bytes.size()) return {bytes.begin() + kKeptBytes, bytes.end()};
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
            std::chrono::steady_clock::now() > deadline)
            break;
        if (n < 0) std::this_thread::sleep_for(1ms);
    }
    return {};
}

// What RNDADDENTROPY takes; <linux/random.h> has it with an array of no size at its end.
struct Added {
    int bits = 0, bytes = 0;
    std::array<std::byte, 32> seed{};
};
static_assert(offsetof(Added, seed) == sizeof(rand_pool_info));

}  // namespace

RandomDevices::RandomDevices() : processor(fill_from_processor) {}

Seed gather_seed(std::span<const std::byte> secret, const RandomDevices& devices) {
    Seed seed{time_and_jitter(), {}};
    if (!secret.empty()) {
        append(seed.bytes, codec::hmac_sha256(secret, seed.bytes));
        seed.sources.emplace_back("secret");
    }
    Bytes drawn(kProcessorBytes);
    if (devices.processor(drawn)) {
        append(seed.bytes, drawn);
        seed.sources.emplace_back("processor");
    }
    if (const Bytes read = from_hardware(devices.hardware); !read.empty() && !is_zero(read)) {
        append(seed.bytes, read);
        seed.sources.emplace_back("hardware");
    }
    return seed;
}

Reseeded reseed_kernel(std::span<const std::byte> secret, const RandomDevices& devices) {
    Seed seed = gather_seed(secret, devices);
    if (seed.sources.empty())
        throw_error(Code::kRefused,
                    "nothing that only this machine has can be mixed into the kernel's random state: no "
                    "secret, no generator in "
                    "the processor, no {}",
                    devices.hardware);
    const Fd kernel = open_path(devices.kernel, O_RDWR, Code::kUnsupported);
    Added added{256, 32, codec::sha256(seed.bytes)};
    ::explicit_bzero(seed.bytes.data(), seed.bytes.size());
    if (::ioctl(kernel.get(), RNDADDENTROPY, &added) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: takes no entropy", devices.kernel);
    if (::ioctl(kernel.get(), RNDRESEEDCRNG, nullptr) != 0)
        throw_errno(Code::kUnsupported, errno, "{}: does not draw from what it was given", devices.kernel);
    ::explicit_bzero(&added, sizeof added);
    return {seed.sources};
}

}  // namespace dupengine::machine

#include "machine/tsc_rate.h"

#include <x86intrin.h>

#include <algorithm>
#include <ctime>
#include <thread>

namespace dupengine::machine {
namespace {

constexpr std::uint64_t kMillion = 1'000'000, kNanosecondsOfSecond = 1'000'000'000;
constexpr double kMostPpm = 500;

std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * kNanosecondsOfSecond +
           static_cast<std::uint64_t>(time.tv_nsec);
}

struct Moment {
    std::uint64_t tsc = 0, time = 0, doubt = ~std::uint64_t{0};
};

// The one of many looks that was interrupted least.
Moment look() {
    Moment best;
    for (int i = 0; i < 64; ++i) {
        const std::uint64_t before = now(), tsc = __rdtsc(), after = now();
        if (after - before < best.doubt) best = {tsc, before + (after - before) / 2, after - before};
    }
    return best;
}

}  // namespace

TscRate measure_tsc() {
    const Moment begin = look();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Moment end = look();
    const std::uint64_t took = end.time - begin.time;
    if (took == 0 || end.tsc <= begin.tsc) return {};
    const auto khz = static_cast<double>(end.tsc - begin.tsc) * kMillion / static_cast<double>(took);
    const std::uint64_t error = (begin.doubt + end.doubt) * kMillion / took + 1;
    return {static_cast<std::uint64_t>(khz), static_cast<unsigned>(std::min(error, kMillion))};
}

bool keeps_time(const TscRate& source, const TscRate& target) {
    if (source.khz == 0 || target.khz == 0) return true;
    const double ratio = static_cast<double>(target.khz) / static_cast<double>(source.khz);
    const double apart = (ratio > 1 ? ratio - 1 : 1 - ratio) * kMillion;
    return apart <= kMostPpm + source.error_ppm + target.error_ppm;
}

}  // namespace dupengine::machine

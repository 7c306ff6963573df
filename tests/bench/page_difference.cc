// How fast page differences are found and swapped, beside memcpy and memcmp over the same buffers, which are
// larger than the caches of one core. Bytes per second are bytes of pages looked at. See README.md.

#include "codec/page_difference.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/random.h"

namespace dupengine::codec {
namespace {

constexpr std::size_t kPages = 32768;  // 128 MiB, twice

struct Buffers {
    AlignedBuffer before{kPages * kPageBytes}, after{kPages * kPageBytes};
    AlignedBuffer arena{kPages * (kGroupEntryBytes + kPageBytes) + 2 * kMaxGroupBytes};
};

// `percent` of the words of each page differ, strewn at random.
Buffers& buffers_with(std::int64_t percent) {
    static Buffers buffers;
    SeededRandom random(1);
    random.fill(buffers.before.all());
    std::ranges::copy(buffers.before.all(), buffers.after.all().begin());
    std::ranges::fill(buffers.arena.all(), std::byte{1});  // no page of it is new to the kernel
    for (std::size_t at = 0; at < buffers.after.size(); at += 8)
        if (random.below(100) < static_cast<std::uint64_t>(percent))
            buffers.after.all()[at] = ~buffers.after.all()[at];
    return buffers;
}

// All differences as groups, one behind the other. Their sizes, in `sizes`.
void find_all(Buffers& buffers, PagePath path, std::vector<std::size_t>& sizes) {
    sizes.clear();
    std::span<std::byte> room = buffers.arena.all();
    std::size_t page = 0;
    while (page < kPages) {
        GroupWriter writer(room, path);
        for (; page < kPages; ++page)
            if (const auto at = page * kPageBytes;
                writer.add(page, buffers.before.all().subspan(at, kPageBytes),
                           buffers.after.all().subspan(at, kPageBytes)) == GroupWriter::Added::kFull)
                break;
        sizes.push_back(writer.finish().size());
        room = room.subspan(sizes.back());
    }
}

void find(benchmark::State& state, PagePath path) {
    Buffers& buffers = buffers_with(state.range(0));
    std::vector<std::size_t> sizes;
    sizes.reserve(kPages);
    for (auto _ : state)
        find_all(buffers, path, sizes);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(buffers.before.size()));
}

// Applied and taken back in turns: the two are the same work.
void swap(benchmark::State& state, PagePath path) {
    Buffers& buffers = buffers_with(state.range(0));
    std::vector<std::size_t> sizes;
    find_all(buffers, path, sizes);
    for (auto _ : state) {
        std::size_t at = 0;
        for (const std::size_t size : sizes) {
            swap_group(buffers.arena.all().subspan(at, size), buffers.before.all(), path);
            at += size;
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(buffers.before.size()));
}

void run_memcpy(benchmark::State& state) {
    Buffers& buffers = buffers_with(0);
    for (auto _ : state)
        for (std::size_t at = 0; at < buffers.before.size(); at += kPageBytes)
            std::memcpy(buffers.after.all().data() + at, buffers.before.all().data() + at, kPageBytes);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(buffers.before.size()));
}

void run_memcmp(benchmark::State& state) {
    Buffers& buffers = buffers_with(0);
    for (auto _ : state)
        for (std::size_t at = 0; at < buffers.before.size(); at += kPageBytes)
            benchmark::DoNotOptimize(
                std::memcmp(buffers.after.all().data() + at, buffers.before.all().data() + at, kPageBytes));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(buffers.before.size()));
}

struct Row {
    const char* name;
    void (*run)(benchmark::State&, PagePath);
};

void declare() {
    benchmark::RegisterBenchmark("memcpy", run_memcpy);
    benchmark::RegisterBenchmark("memcmp", run_memcmp);
    for (const PagePath path : page_paths())
        for (const Row& row : {Row{"find", find}, Row{"swap", swap}}) {
            const std::string name = fmt::format("{}/{}", row.name, page_path_name(path));
            const auto run = [=](benchmark::State& state) { row.run(state, path); };
            auto* rows = benchmark::RegisterBenchmark(name.c_str(), run);
            for (const std::int64_t percent : {0, 1, 10, 50, 100})
                rows->Arg(percent);
        }
}

}  // namespace
}  // namespace dupengine::codec

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    dupengine::codec::declare();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}

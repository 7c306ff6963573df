// Damage to images: a bit in each chunk of a store, one after the other, and bits, cuts and losses of each of
// its files. `verify` finds it, and a restore either gives the source or ends without a byte on the target
// that is neither the source's nor the target's own.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "engine/apply.h"
#include "engine/capture.h"
#include "engine/check_image.h"
#include "image/open_image.h"
#include "tests/support/campaign.h"
#include "tests/support/gpt_disk.h"
#include "tests/support/remote_copy.h"
#include "tests/support/scratch.h"

namespace dupengine::image {
namespace {

using block::Extent;
using test::DiskBytes;
using test::MemoryDevice;

constexpr std::uint64_t kChunk = 64 * kKiB;
// 300 seeds are more than 10,000 chunks.
constexpr std::uint64_t kDataChunks = 34;
// Away from the ends of the partition, which are read before the first write: what is damaged there ends the
// restore before it begins.
constexpr std::uint64_t kEmptyChunks = 72;
const Extent kPartition{16 * kChunk, (16 + kEmptyChunks + kDataChunks + kEmptyChunks) * kChunk};
const Extent kData{(16 + kEmptyChunks) * kChunk, (16 + kEmptyChunks + kDataChunks) * kChunk};
const Extent kProfile{kPartition.end + 4 * kChunk, kPartition.end + 5 * kChunk};
const std::uint64_t kSize = kProfile.end + 16 * kChunk;

Bytes whole_file(const std::string& path) {
    const std::string text = read_file(path, Code::kInternal, std::size_t{64} << 20);
    const auto bytes = as_bytes(text);
    return {bytes.begin(), bytes.end()};
}

void put_file(const std::string& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// A signed image of a small disk in a store of its own, and a machine to restore it to.
class Scene {
  public:
    explicit Scene(std::uint64_t seed) : random(seed) {
        source = test::make_gpt_disk(kSize, {{1, kPartition, "root"}}, 2 * seed);
        for (const Extent empty : {Extent{kPartition.begin, kData.begin}, Extent{kData.end, kPartition.end}})
            std::fill_n(source->content.begin() + static_cast<std::ptrdiff_t>(empty.begin), empty.size(),
                        std::byte{0});
        // Half of the chunks compress.
        for (std::uint64_t chunk = 0; chunk < kDataChunks; chunk += 2)
            std::fill_n(source->content.begin() +
                            static_cast<std::ptrdiff_t>(kData.begin + chunk * kChunk + kChunk / 3),
                        kChunk / 2, std::byte{'x'});
        target = test::make_gpt_disk(
            kSize + random.below(2) * kMiB,
            {{1, {kMiB, 2 * kMiB}, "old"}, {128, kProfile, "profile", layout::type_guid::kProfile}},
            2 * seed + 1, true);
        // Some of it is there already, and must not be read from the image.
        for (std::uint64_t chunk = 0; chunk < kDataChunks; ++chunk)
            if (random.below(8) == 0)
                std::copy_n(source->content.begin() + at(chunk), kChunk, target->content.begin() + at(chunk));
        before = target->content;
        make_signing_key(key_);
        trusted_.add_file(key_ + ".pub");
        capture();
    }

    OpenImage open() const { return open_image(*parse_reference("image:" + path), {&trusted_, 2}); }

    // Throws what ends it.
    void restore() {
        target->content = before;
        const OpenImage image = open();
        engine::CopyOptions options;
        options.tuning.workers = static_cast<unsigned>(1 + random.below(2));
        options.delta = random.below(2) == 0 ? engine::Delta::kAlways : engine::Delta::kNever;
        const engine::CopyPlan plan = engine::make_plan(*image.reader, MemoryDevice(target), options);
        block::Target guarded(std::make_unique<MemoryDevice>(target), plan.protected_regions());
        Progress progress;
        engine::ApplyContext context{progress, {}, 1, {}};
        engine::apply_plan(plan, *image.reader, guarded, context);
    }

    // What is wrong with the target after a restore that ended (`why`), or did not (empty).
    std::string verdict(const std::string& why) const {
        if (test::part_of(target->content, kProfile) != test::part_of(before, kProfile))
            return "the profile is lost";
        if (why.empty())
            return test::part_of(target->content, kPartition) == test::part_of(source->content, kPartition)
                       ? ""
                       : "complete, and not the source";
        if (why.find('\n') != std::string::npos) return "more than a line: " + why;
        if (!test::is_old_or_marked(target, before)) return "it ended, and looks like a disk";
        // In what is compared when differences are looked for.
        for (ByteOffset block = kPartition.begin; block < kPartition.end; block += 4096) {
            const auto is = [&](const Bytes& disk) {
                return std::equal(disk.begin() + static_cast<std::ptrdiff_t>(block),
                                  disk.begin() + static_cast<std::ptrdiff_t>(block + 4096),
                                  target->content.begin() + static_cast<std::ptrdiff_t>(block));
            };
            if (!is(source->content) && !is(before))
                return fmt::format("at {} are bytes that are nobody's", block);
        }
        return "";
    }

    engine::ImageCheck check() const {
        Progress progress;
        return engine::check_image(*open().reader, progress, {});
    }

    std::vector<std::string> files() const {
        std::vector<std::string> all;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
            if (entry.is_regular_file() && entry.path().filename() != "lock") all.push_back(entry.path());
        std::ranges::sort(all);
        return all;
    }

    SeededRandom random;
    std::shared_ptr<DiskBytes> source, target;
    Bytes before;

  private:
    static std::ptrdiff_t at(std::uint64_t chunk) {
        return static_cast<std::ptrdiff_t>(kData.begin + chunk * kChunk);
    }

    void capture() {
        Store::create(path);
        Store store(path, StoreLock::For::kWriting);
        const MemoryDevice disk(source, 512, "source");
        const engine::CopyPlan plan = engine::make_capture_plan(disk, path, {});
        Manifest draft = engine::draft_manifest(plan);
        draft.name = "web";
        draft.created = 1;
        ImageWriter writer(store, draft, engine::captured_extents(plan));
        Progress progress;
        engine::CaptureContext context{progress, {}};
        engine::capture(plan, disk, writer, context);
        const SigningKey key(key_);
        writer.finish([&](std::span<const std::byte> manifest) { return key.sign(manifest); });
    }

    const test::ScratchFolder scratch_;
    const std::string key_ = scratch_.file("key");
    TrustedKeys trusted_;

  public:
    const std::string path = scratch_.file("store");
};

// A restore, and what is wrong with what it left. `ended`: with what it ended, if it did.
std::string restore_and_judge(Scene& scene, std::string& ended) {
    ended.clear();
    try {
        scene.restore();
    } catch (const Error& e) {
        ended = e.what();
        // A wrong bit can make the store one of a format that is not known, and nothing else unsupported.
        const bool is_other_format =
            e.code() == Code::kUnsupported && ended.find(": a store of format ") != std::string::npos;
        if (e.code() != Code::kIntegrity && e.code() != Code::kAuthenticity && e.code() != Code::kRefused &&
            !is_other_format)
            return fmt::format("it ended with code {}: {}", static_cast<int>(e.code()), ended);
    }
    return scene.verdict(ended);
}

struct StoredAt {
    std::uint64_t chunk = 0;
    std::string file;
    Place place;
};

std::vector<StoredAt> stored_chunks(const Scene& scene) {
    const OpenImage image = scene.open();
    const ChunkMap& map = image.reader->map();
    std::vector<StoredAt> all;
    for (std::uint64_t chunk = 0; chunk < map.chunk_count(); ++chunk) {
        const auto number = map.list_of(chunk);
        if (!number) continue;
        const auto list = map.list(*number);
        const std::uint64_t first = map.manifest().lists[*number].number * map.manifest().chunks_per_list;
        const Place& place = list->places[chunk - first];
        if (place.bytes != 0)
            all.push_back({chunk, scene.path + "/" + pack_file(map.packs()[place.pack]), place});
    }
    return all;
}

TEST(DamagedImages, ABitInAnyChunkIsFoundAndNothingOfTheChunkIsWritten) {
    const test::Seeds seeds = test::campaign_seeds(15);
    std::size_t chunks = 0, harmless = 0, not_needed = 0, begun = 0;
    for (std::uint64_t seed = seeds.first; seed < seeds.end; ++seed) {
        Scene scene(seed);
        for (const StoredAt& stored : stored_chunks(scene)) {
            const Bytes pack = whole_file(stored.file);
            Bytes damaged = pack;
            const std::uint64_t byte = stored.place.offset + scene.random.below(stored.place.bytes);
            damaged[byte] ^= std::byte(1u << scene.random.below(8));
            put_file(stored.file, damaged);
            const std::string what =
                fmt::format("byte {} of chunk {}, {}", byte, stored.chunk, test::how_to_repeat(seed));
            const block::ExtentSet found = scene.check().damaged;
            const Extent place{stored.chunk * kChunk, (stored.chunk + 1) * kChunk};
            std::string ended;
            ASSERT_EQ(restore_and_judge(scene, ended), "") << what;
            if (found.empty()) {
                // zstd has bits that say nothing; the bytes are held against their digest.
                ASSERT_TRUE(stored.place.compressed) << "not found: " << what;
                ASSERT_EQ(ended, "") << what;
                ++harmless;
            } else {
                ASSERT_EQ(found, block::ExtentSet{place}) << what;
                // A target that has the chunk does not need it.
                if (ended.empty()) {
                    ASSERT_TRUE(
                        std::equal(scene.source->content.begin() + static_cast<std::ptrdiff_t>(place.begin),
                                   scene.source->content.begin() + static_cast<std::ptrdiff_t>(place.end),
                                   scene.before.begin() + static_cast<std::ptrdiff_t>(place.begin)))
                        << "it was not needed? " << what;
                    ++not_needed;
                } else if (scene.target->content != scene.before) {
                    ++begun;
                }
            }
            put_file(stored.file, pack);
            ++chunks;
        }
        std::string ended;
        ASSERT_EQ(restore_and_judge(scene, ended), "");
        ASSERT_EQ(ended, "") << "the undamaged image; " << test::how_to_repeat(seed);
    }
    std::printf(
        "a bit in each of %zu chunks: %zu changed nothing of the data, %zu chunks the target had, %zu ended "
        "the "
        "restore in its middle; seeds %llu to %llu\n",
        chunks, harmless, not_needed, begun, static_cast<unsigned long long>(seeds.first),
        static_cast<unsigned long long>(seeds.end - 1));
    EXPECT_GE(chunks, (seeds.end - seeds.first) * kDataChunks);
    EXPECT_LE(harmless, chunks / 50);
    EXPECT_GE(begun, chunks / 2);
}

struct Harm {
    const char* name;
    Bytes (*of)(const Bytes& file, SeededRandom& random);
};

constexpr Harm kHarms[] = {
    {"a wrong bit",
     [](const Bytes& file, SeededRandom& random) {
         Bytes bytes = file;
         bytes[random.below(bytes.size())] ^= std::byte(1u << random.below(8));
         return bytes;
     }},
    {"a wrong sector",
     [](const Bytes& file, SeededRandom& random) {
         Bytes bytes = file;
         const std::uint64_t begin = random.below(bytes.size()) / 512 * 512;
         random.fill(std::span(bytes).subspan(begin, std::min<std::uint64_t>(512, bytes.size() - begin)));
         return bytes;
     }},
    {"a sector of zeros",
     [](const Bytes& file, SeededRandom& random) {
         Bytes bytes = file;
         const std::uint64_t begin = random.below(bytes.size()) / 512 * 512;
         std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                     std::min<std::uint64_t>(512, bytes.size() - begin), std::byte{0});
         return bytes;
     }},
    {"its end is missing",
     [](const Bytes& file, SeededRandom& random) {
         return Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(random.below(file.size())));
     }},
    {"something behind it",
     [](const Bytes& file, SeededRandom& random) {
         Bytes bytes = file;
         bytes.resize(file.size() + 1 + random.below(5000), std::byte{7});
         return bytes;
     }},
};

TEST(DamagedImages, HarmToAnyFileOfAStoreNeverMakesAnotherDisk) {
    const test::Seeds seeds = test::campaign_seeds(6);
    std::size_t cases = 0, refused = 0;
    for (std::uint64_t seed = seeds.first; seed < seeds.end; ++seed) {
        Scene scene(seed);
        for (const std::string& file : scene.files()) {
            const Bytes content = whole_file(file);
            for (int i = 0; i < 6; ++i) {
                const bool is_lost = i == 5;
                const Harm& harm = kHarms[scene.random.below(std::size(kHarms))];
                if (is_lost)
                    std::filesystem::remove(file);
                else
                    put_file(file, harm.of(content, scene.random));
                std::string ended;
                ASSERT_EQ(restore_and_judge(scene, ended), "")
                    << file << ": " << (is_lost ? "it is lost" : harm.name) << ", "
                    << test::how_to_repeat(seed);
                ++cases;
                refused += ended.empty() ? 0 : 1;
                put_file(file, content);
            }
        }
    }
    std::printf("%zu harms to files of stores, %zu of them ended the restore; seeds %llu to %llu\n", cases,
                refused, static_cast<unsigned long long>(seeds.first),
                static_cast<unsigned long long>(seeds.end - 1));
    EXPECT_GE(refused, cases / 2);
}

}  // namespace
}  // namespace dupengine::image

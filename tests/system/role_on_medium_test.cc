// A profile that is read while the kernel remembers another disk in its place: what a target finds when it
// wakes up with the caches of its source.

#include <fcntl.h>
#include <gmock/gmock.h>

#include "base/fd.h"
#include "base/random.h"
#include "block/in_place.h"
#include "profiles/node_role.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kDisk = 16 * kMiB;

class RoleOnMedium : public ::testing::Test {
  protected:
    // A disk image with a profile partition of this size before whose begin there is nothing.
    std::string disk(const std::string& name, const std::string& size, const std::string& node) {
        const std::string path = scratch_.sparse_file(name, kDisk), toml = scratch_.file(name + ".toml");
        test::must_run({"sgdisk", "-n", "1:1MiB:+4MiB", path});
        const std::string text = "schema = 1\nkind = \"node\"\nnode = \"" + node + "\"\n";
        write_file_atomic(toml, as_bytes(text), 0644, Code::kInternal);
        const RunResult made = test::run_dupengine(
            {"profile", "init", "--store", "partition:" + path, "--from", toml, "--size", size});
        EXPECT_EQ(made.status, 0) << made.err;
        return path;
    }
    // All of what stands there, through the page cache; the descriptor keeps the cache alive.
    static std::string read_cached(const Fd& fd) {
        std::string content(kDisk, '\0');
        pread_exact(fd.get(), 0, std::as_writable_bytes(std::span(content)), Code::kInternal, "cached");
        return content;
    }
    static void overwrite(const std::string& path, const std::string& with) {
        const Fd fd = open_path(path, O_WRONLY, Code::kInternal);
        pwrite_exact(fd.get(), 0, as_bytes(read_file(with, Code::kInternal)), Code::kInternal, path);
    }

    test::ScratchFolder scratch_;
};

TEST_F(RoleOnMedium, TheCachesOfTheSourceNeverAnswer) {
    // Also the table differs: the profile partition lies elsewhere.
    const std::string source = disk("source.img", "4MiB", "node-a"),
                      target = disk("target.img", "6MiB", "node-b");
    const test::LoopDevice loop(source);
    const Fd cached = open_path(loop.path(), O_RDONLY, Code::kInternal);
    const std::string remembered = read_cached(cached);
    overwrite(source, target);  // beneath the loop device: its cache knows nothing of it
    ASSERT_TRUE(read_cached(cached) == remembered) << "nothing stale is cached, so this would prove nothing";

    const StoredRole role = read_role_from_medium(loop.path());
    EXPECT_THAT(role.profile.text, HasSubstr("node-b"));
    EXPECT_EQ(role.store, "partition:" + loop.path());
    EXPECT_EQ(role.profile.secret.bytes, read_stored_role("partition:" + target).profile.secret.bytes);
    EXPECT_THAT(find_role_on_media({loop.path()}).profile.text, HasSubstr("node-b"));
    EXPECT_TRUE(read_cached(cached) == remembered)
        << "the cache was dropped, which a system in use cannot do";
}

TEST_F(RoleOnMedium, ADiskWithoutAProfileGivesNoRoleEvenIfTheSourceHadOne) {
    const std::string source = disk("source.img", "4MiB", "node-a"),
                      empty = scratch_.sparse_file("empty.img", kDisk);
    test::must_run({"sgdisk", "-n", "1:1MiB:+4MiB", empty});
    const test::LoopDevice loop(source);
    const Fd cached = open_path(loop.path(), O_RDONLY, Code::kInternal);
    const std::string remembered = read_cached(cached);
    overwrite(source, empty);
    ASSERT_TRUE(read_cached(cached) == remembered);
    try {
        read_role_from_medium(loop.path());
        FAIL() << "a role was found";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("has no profile partition"));
    }
}

TEST_F(RoleOnMedium, TwoDisksHaveToAgree) {
    const test::LoopDevice a(disk("a.img", "4MiB", "node-a")), b(disk("b.img", "4MiB", "node-b"));
    try {
        find_role_on_media({a.path(), b.path()});
        FAIL() << "one was chosen";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), HasSubstr("hold different profiles"));
    }
}

TEST_F(RoleOnMedium, EveryByteComesAsItIsWhateverItsPlace) {
    const std::string path = disk("a.img", "4MiB", "node-a");
    const std::string all = read_file(path, Code::kInternal);
    const test::LoopDevice loop(path, {.sector_bytes = 4096});
    const auto medium = block::open_medium(loop.path());
    SeededRandom random(7);
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t begin = random.below(kDisk),
                            size = random.below(std::min<std::uint64_t>(kDisk - begin, 3 * kMiB));
        std::string part(size, '\0');
        medium->read(begin, std::as_writable_bytes(std::span(part)));
        ASSERT_TRUE(part == all.substr(begin, size)) << begin << " " << size;
    }
}

TEST_F(RoleOnMedium, AnImageFileIsNoDiskOfARunningSystem) {
    EXPECT_THROW(read_role_from_medium(disk("a.img", "4MiB", "node-a")), Error);
}

TEST_F(RoleOnMedium, MemoryThatTheSystemUsesIsRefusedByName) {
    const RunResult shown = test::run_dupengine({"profile", "show", "--store", "memory:0x200000"});
    EXPECT_EQ(shown.status, 3) << shown.out << shown.err;
    EXPECT_THAT(shown.err, HasSubstr("'System RAM'"));
    EXPECT_EQ(test::run_dupengine({"profile", "show", "--store", "memory:nowhere"}).status, 2);
}

}  // namespace
}  // namespace dupengine::profiles

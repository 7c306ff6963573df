// `dupengine assume` on real disks, killed at any moment: the next run finishes it or goes back.

#include <fcntl.h>

#include "base/fd.h"
#include "base/random.h"
#include "tests/support/disk_image.h"
#include "tests/support/fake_system.h"
#include "tests/support/killed_run.h"
#include "tests/system/assume_disk.h"

namespace dupengine {
namespace {

using test::GoldenDisk;
using test::must_run;
using ::testing::HasSubstr;

TEST_F(AssumeDisk, AKilledRunIsFinishedOrUndoneByTheNext) {
    const GoldenDisk golden = make("disk.img");
    const std::string before = picture(golden), spare = folder.file("spare.img");
    must_run({"cp", "--sparse=always", golden.path, spare});
    const auto begin = std::chrono::steady_clock::now();
    must_assume(golden.path);
    const auto whole =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
    const std::string seed_text =
        std::getenv("DUPENGINE_SEED") != nullptr ? std::getenv("DUPENGINE_SEED") : "1";
    SeededRandom random(std::stoull(seed_text));
    unsigned killed = 0;
    for (unsigned round = 0; round < 10; ++round) {
        SCOPED_TRACE(fmt::format("round {} of DUPENGINE_SEED={}", round, seed_text));
        must_run({"cp", "--sparse=always", spare, golden.path});
        killed += !test::run_and_kill(
            {"assume", "--yes", "--disk", golden.path},
            std::chrono::microseconds(random.below(static_cast<std::uint64_t>(whole.count()))));
        if (round % 2 == 0) {
            must_assume(golden.path);
            EXPECT_EQ(must_assume(golden.path).value("result", ""), "nothing to change");
            expect_sound(golden);
            EXPECT_NE(test::probed(golden.path, golden.root, "UUID"), test::kGoldenRoot);
        }
        const RunResult undone = assume(golden.path, {"--yes", "--undo"});
        // Killed before it had begun: then there is nothing to undo, and nothing was changed.
        if (undone.status != 0) {
            EXPECT_THAT(undone.err, HasSubstr("nothing to undo"));
        }
        expect_sound(golden);
        EXPECT_EQ(picture(golden), before);
        if (HasFailure()) return;
    }
    EXPECT_GT(killed, 0u) << "every run was through before it could be killed";
}

// tune2fs rewrites every checksum when the UUID changes. Here it is killed in the middle of that, again and
// again.
TEST_F(AssumeDisk, AUuidChangeThatIsKilledHalfWayLosesNothing) {
    test::GoldenRecipe recipe;
    recipe.size_bytes = 600 << 20;
    recipe.extra_files = 6000;
    const GoldenDisk golden = make("disk.img", recipe);
    const std::string before = picture(golden);
    const std::string real = "/usr/sbin/tune2fs";
    unsigned marked = 0;
    for (unsigned delay = 1; delay <= 14; ++delay) {
        SCOPED_TRACE(fmt::format("killed after {} tenths of a millisecond", delay * 5));
        write_file_atomic(folder.file("tune2fs"),
                          as_bytes(fmt::format("#!/bin/sh\ncase \"$1\" in -U) timeout -s KILL 0.{:04} {} "
                                               "\"$@\" || exit 9;; *) exec {} \"$@\";; esac\n",
                                               delay * 5, real, real)),
                          0755, Code::kInternal);
        const RunResult cut = run_program({"env", "PATH=" + folder.path() + ":/usr/sbin:/usr/bin:/sbin:/bin",
                                           test::command(), "assume", "--yes", "--disk", golden.path});
        const std::string mark =
            as_text(block::read_extent(*block::open_source(golden.path),
                                       {golden.root.begin + 1024 + 0x88, golden.root.begin + 1024 + 0xc8}))
                .data();
        if (cut.status != 0) {
            EXPECT_THAT(cut.err, HasSubstr("stopped half-way"));
            EXPECT_THAT(mark, HasSubstr("dupengine-uuid:"));
            if (++marked == 1) {
                const std::string left = test::file_sha256(golden.path);
                EXPECT_THAT(assume(golden.path, {}).err, HasSubstr("not confirmed"));
                EXPECT_EQ(assume(golden.path, {"--plan"}).status, 3);
                EXPECT_EQ(test::file_sha256(golden.path), left);
            }
        }
        must_assume(golden.path);
        EXPECT_EQ(must_assume(golden.path).value("result", ""), "nothing to change");
        expect_sound(golden);
        must_assume(golden.path, {"--yes", "--undo"});
        EXPECT_EQ(picture(golden), before);
        if (HasFailure()) return;
    }
    EXPECT_GT(marked, 2u);
}

// e2fsprogs writes a superblock piece by piece. Here a cut falls between any two of them, and between the
// sectors of our own mark: a checksum that fits neither the old fields nor the new.
TEST_F(AssumeDisk, ASuperblockThatIsWrittenInPartLosesNothing) {
    const GoldenDisk golden = make("disk.img");
    const std::string before = picture(golden), cut = folder.file("cut.img");
    const std::string keep = fmt::format("dd status=none bs=1024 skip=1 count=1 of={}/", folder.path());
    write_file_atomic(folder.file("tune2fs"),
                      as_bytes(fmt::format("#!/bin/sh\n[ \"$1\" = -U ] || exec /usr/sbin/tune2fs \"$@\"\n"
                                           "{0}old if=$3\n/usr/sbin/tune2fs \"$@\"\n{0}new if=$3\nexit 9\n",
                                           keep)),
                      0755, Code::kInternal);
    const RunResult stopped = run_program({"env", "PATH=" + folder.path() + ":/usr/sbin:/usr/bin:/sbin:/bin",
                                           test::command(), "assume", "--yes", "--disk", golden.path});
    ASSERT_THAT(stopped.err, HasSubstr("stopped half-way"));
    must_run({"cp", "--sparse=always", golden.path, cut});
    const std::string from = read_file(folder.file("old"), Code::kInternal),
                      to = read_file(folder.file("new"), Code::kInternal);
    std::string torn = from;
    unsigned pieces = 0;
    for (std::size_t at = 0; at < to.size(); at += 2) {
        if (from.compare(at, 2, to, at, 2) == 0) continue;
        torn.replace(at, 2, to, at, 2);
        const bool more = at + 2 < to.size() && from.compare(at + 2, 2, to, at + 2, 2) != 0;
        if (more) continue;
        SCOPED_TRACE(fmt::format("written until byte {} of the superblock", at + 2));
        ++pieces;
        must_run({"cp", "--sparse=always", cut, golden.path});
        const Fd fd = open_path(golden.path, O_RDWR, Code::kInternal);
        pwrite_exact(fd.get(), golden.root.begin + 1024, as_bytes(torn), Code::kInternal, golden.path);
        must_assume(golden.path);
        EXPECT_EQ(must_assume(golden.path).value("result", ""), "nothing to change");
        expect_sound(golden);
        must_assume(golden.path, {"--yes", "--undo"});
        EXPECT_EQ(picture(golden), before);
        if (HasFailure()) return;
    }
    EXPECT_GT(pieces, 1u);
}

}  // namespace
}  // namespace dupengine

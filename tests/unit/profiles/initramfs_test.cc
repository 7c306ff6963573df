#include "profiles/references/initramfs.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "profiles/references/cpio.h"
#include "profiles/references/initramfs_members.h"
#include "profiles/references/unified_kernel.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

using test::must_run;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kOld = "a1b2c3d4-1111-4222-8333-444455556666";
constexpr const char* kNew = "0f0f0f0f-9999-4888-8777-666655554444";

IdentifierMap map_of_one() {
    IdentifierMap map;
    map.add(kOld, kNew);
    return map;
}

std::string resume_line(const char* uuid) {
    return fmt::format("RESUME=UUID={}\n", uuid);
}

std::string main_archive() {
    std::string noise;
    for (unsigned i = 0; i < 200'000; ++i)
        noise += static_cast<char>(i * i % 251);
    return encode_cpio({{"conf/conf.d/resume", S_IFREG | 0644, 0, 0, 7, resume_line(kOld)},
                        {"bin/program", S_IFREG | 0755, 0, 0, 7, noise},
                        {"dev/root", S_IFLNK | 0777, 0, 0, 7, std::string("disk/by-uuid/") + kOld}});
}

std::string compressed(const std::vector<std::string>& program, const std::string& bytes) {
    RunOptions options;
    options.input = bytes;
    return must_run(program, options);
}

const std::vector<std::vector<std::string>> kCompressors = {{"gzip", "-c"},
                                                            {"zstd", "-q", "-c"},
                                                            {"xz", "--check=crc32", "-c"},
                                                            {"lz4", "-l", "-c"},
                                                            {"bzip2", "-c"}};

// What the last archive of a file holds, read by cpio itself.
std::string read_with_cpio(const std::string& archive, const std::string& member) {
    RunOptions options;
    options.input = archive;
    return must_run({"cpio", "--quiet", "-i", "--to-stdout", member}, options);
}

TEST(Initramfs, AReferenceInAnyCompressedArchiveIsCorrectedAtTheEnd) {
    for (const auto& program : kCompressors) {
        SCOPED_TRACE(program[0]);
        const std::string microcode =
            encode_cpio({{"kernel/x86/microcode/x.bin", S_IFREG | 0644, 0, 0, 0, "code"}});
        const std::string file = microcode + compressed(program, main_archive());
        const InitramfsFindings found = inspect_initramfs(file, map_of_one());
        ASSERT_TRUE(found.is_initramfs);
        EXPECT_THAT(found.rewritten, ElementsAre("conf/conf.d/resume", "dev/root"));
        EXPECT_THAT(found.stuck, IsEmpty());
        const std::size_t begin = found.addition.find("07070");
        EXPECT_EQ((file.size() + begin) % 4, 0u);
        EXPECT_EQ(read_with_cpio(found.addition.substr(begin), "conf/conf.d/resume"), resume_line(kNew));
        // The corrected file holds nothing to be corrected any more, as the kernel would read it.
        const InitramfsFindings again = inspect_initramfs(file + found.addition, map_of_one());
        EXPECT_THAT(again.rewritten, IsEmpty());
        EXPECT_EQ(again.addition, "");
    }
}

// The kernel unpacks every archive in the file; what only the first of them is searched for is found too
// late.
TEST(Initramfs, EveryCompressedArchiveBehindAnotherIsSearchedToo) {
    const std::string first =
        encode_cpio({{"etc/first", S_IFREG | 0644, 0, 0, 7, std::string("root=UUID=") + kOld + "\n"}});
    const std::string plain = encode_cpio({{"etc/plain", S_IFREG | 0644, 0, 0, 7, "nothing\n"}});
    for (const auto& one : kCompressors)
        for (const auto& other : kCompressors)
            for (const std::size_t zeros : {0u, 1u, 4u, 511u}) {
                SCOPED_TRACE(fmt::format("{}, {} zeros, {}", one[0], zeros, other[0]));
                // lz4's blocks have no end but a zero word (lib/decompress_unlz4.c).
                if (one[0] == "lz4" && zeros < 4) continue;
                std::string file =
                    compressed(one, first) + std::string(zeros, '\0') + compressed(other, main_archive());
                const InitramfsFindings found = inspect_initramfs(file, map_of_one());
                EXPECT_THAT(found.rewritten, ElementsAre("conf/conf.d/resume", "dev/root", "etc/first"));
                EXPECT_THAT(inspect_initramfs(file + found.addition, map_of_one()).rewritten, IsEmpty());
                file += std::string((8 - file.size() % 4) % 8, '\0') + plain + compressed(one, first);
                EXPECT_THAT(inspect_initramfs(file, map_of_one()).rewritten,
                            ElementsAre("conf/conf.d/resume", "dev/root", "etc/first"));
            }
}

TEST(Initramfs, WhatCannotBeCorrectedIsNamed) {
    const std::string binary = std::string("\x7f\0", 2) + kOld;
    const std::string file =
        encode_cpio({{"lib/thing.so", S_IFREG | 0644, 0, 0, 0, binary},
                     {std::string("hooks/wait-for-") + kOld, S_IFREG | 0644, 0, 0, 0, "x"}});
    const InitramfsFindings found = inspect_initramfs(file, map_of_one());
    ASSERT_EQ(found.stuck.size(), 2u);
    EXPECT_THAT(found.stuck[0], HasSubstr("hooks/wait-for-"));
    EXPECT_THAT(found.stuck[1], HasSubstr("lib/thing.so"));
}

TEST(Initramfs, SomethingElseThatIsCompressedIsNotOurs) {
    EXPECT_FALSE(inspect_initramfs(compressed({"gzip", "-c"}, "a font\n"), map_of_one()).is_initramfs);
    EXPECT_FALSE(may_be_initramfs("plain text"));
}

TEST(Initramfs, ADamagedArchiveIsAnErrorAndNeverACrash) {
    const std::string whole =
        encode_cpio({{"conf/conf.d/resume", S_IFREG | 0644, 0, 0, 7, resume_line(kOld)}});
    for (std::size_t size = 6; size < whole.size() - 4; ++size) {
        const std::string cut = whole.substr(0, size);
        EXPECT_THROW(inspect_initramfs(cut, map_of_one()), Error) << size;
    }
    for (std::size_t at = 6; at < 110; ++at) {
        std::string bad = whole;
        bad[at] = 'F';
        try {
            inspect_initramfs(bad, map_of_one());
        } catch (const Error&) {
        }
    }
    EXPECT_THROW(inspect_initramfs(compressed({"gzip", "-c"}, main_archive()).substr(0, 500), map_of_one()),
                 Error);
}

// A PE program with the given sections; only what a reader of sections looks at.
std::string program_with(const std::vector<std::pair<std::string, std::string>>& sections, bool is_signed) {
    std::string file(0x400, '\0');
    const auto put = [&file](std::size_t at, std::uint32_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i)
            file[at + i] = static_cast<char>(value >> (8 * i));
    };
    file.replace(0, 2, "MZ");
    put(0x3c, 0x80, 4);
    file.replace(0x80, 2, "PE");
    put(0x86, static_cast<std::uint32_t>(sections.size()), 2);
    put(0x94, 112 + 16 * 8, 2);
    put(0x98, 0x20b, 2);
    put(0x98 + 108, 16, 4);
    if (is_signed) put(0x98 + 112 + 4 * 8 + 4, 64, 4);
    for (std::size_t i = 0; i < sections.size(); ++i) {
        const std::size_t header = 0x98 + 112 + 16 * 8 + 40 * i;
        file.replace(header, sections[i].first.size(), sections[i].first);
        put(header + 16, static_cast<std::uint32_t>(sections[i].second.size()), 4);
        put(header + 20, static_cast<std::uint32_t>(file.size()), 4);
        file += sections[i].second;
    }
    return file;
}

TEST(UnifiedKernel, ItsCommandLineIsCorrectedInPlace) {
    const std::string file =
        program_with({{".linux", "kernel"}, {".cmdline", std::string("root=UUID=") + kOld + " ro"}}, false);
    const auto found = inspect_unified_kernel(file, map_of_one());
    ASSERT_TRUE(found.is_unified_kernel);
    EXPECT_THAT(found.stuck, IsEmpty());
    EXPECT_EQ(found.corrected.size(), file.size());
    EXPECT_THAT(found.corrected, HasSubstr(std::string("root=UUID=") + kNew + " ro"));
}

TEST(UnifiedKernel, ASignatureOrAnInitramfsInsideStopsIt) {
    const std::string line = std::string("root=UUID=") + kOld;
    EXPECT_THAT(
        inspect_unified_kernel(program_with({{".linux", "k"}, {".cmdline", line}}, true), map_of_one()).stuck,
        ElementsAre(HasSubstr("signed")));
    const auto inner =
        program_with({{".linux", "k"}, {".initrd", compressed({"zstd", "-q", "-c"}, main_archive())}}, false);
    EXPECT_EQ(inspect_unified_kernel(inner, map_of_one()).stuck.size(), 2u);
    EXPECT_THAT(inspect_unified_kernel(program_with({{".linux", line}}, false), map_of_one()).stuck,
                ElementsAre(HasSubstr("outside its command line")));
}

TEST(UnifiedKernel, ACutOrLyingProgramIsNoUnifiedKernel) {
    const std::string file = program_with({{".linux", "kernel"}, {".cmdline", "x"}}, false);
    for (std::size_t size = 0; size < file.size(); ++size)
        EXPECT_FALSE(inspect_unified_kernel(file.substr(0, size), map_of_one()).is_unified_kernel) << size;
    std::string lying = file;
    lying[0x98 + 112 + 16 * 8 + 23] = '\xff';  // the first section begins beyond the end
    EXPECT_FALSE(inspect_unified_kernel(lying, map_of_one()).is_unified_kernel);
}

}  // namespace
}  // namespace dupengine::profiles

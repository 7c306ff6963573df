// dupengine-generator: a system whose starts are counted tells that it came up well, and no other does.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/subprocess.h"
#include "tests/support/paths.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;

class Generator : public testing::Test {
  protected:
    Generator() { put("proc/cmdline", "root=/dev/vda1 quiet\n"); }
    void put(const std::string& path, const std::string& content = "") {
        const fs::path file = root_ + "/" + path;
        fs::create_directories(file.parent_path());
        std::ofstream(file) << content;
    }
    bool wants_confirmation() {
        const std::string units = scratch_.file("units");
        fs::remove_all(units);
        fs::create_directory(units);
        RunOptions options;
        options.extra_environment = {"DUPENGINE_ROOT=" + root_};
        const RunResult result = run_program(
            {test::source_folder() + "/bootloader_hooks/systemd/dupengine-generator", units, units, units},
            options);
        EXPECT_EQ(result.status, 0) << result.err;
        EXPECT_EQ(result.err, "");
        const fs::path link = units + "/multi-user.target.wants/dupengine-boot-confirm.service";
        EXPECT_EQ(fs::is_empty(units), !fs::is_symlink(link));
        return fs::is_symlink(link);
    }

    test::ScratchFolder scratch_;
    const std::string root_ = scratch_.file("root");
};

constexpr const char* kTries = "sys/firmware/efi/efivars/DupengineTries-87463cd7-2602-467b-beac-b3b17a82e3d0";

TEST_F(Generator, WhereNothingIsCountedNothingIsConfirmed) {
    EXPECT_FALSE(wants_confirmation());
}

TEST_F(Generator, WhoeverCountsIsTold) {
    for (const std::string count :
         {kTries, "sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
          "boot/grub/dupengine/entries.cfg"}) {
        put(count, "3");
        EXPECT_TRUE(wants_confirmation()) << count;
        fs::remove(root_ + "/" + count);
        EXPECT_FALSE(wants_confirmation());
    }
}

TEST_F(Generator, SomebodyElseMayDecide) {
    put(kTries, "3");
    put("proc/cmdline", "root=/dev/vda1 dupengine.confirm=no");
    EXPECT_FALSE(wants_confirmation());
    put("proc/cmdline", "dupengine.confirm=notyet quiet");
    EXPECT_TRUE(wants_confirmation());
}

TEST_F(Generator, ASmallSystemConfirmsNothing) {
    put(kTries, "0");
    put("etc/initrd-release");
    EXPECT_FALSE(wants_confirmation());
}

// What the generator asks for has to be there, under that name and with the same conditions.
TEST_F(Generator, TheUnitLooksForTheSameCounts) {
    const std::string folder = test::source_folder() + "/bootloader_hooks/systemd/";
    const std::string unit = test::must_run({"cat", folder + "dupengine-boot-confirm.service"});
    const std::string generator = test::must_run({"cat", folder + "dupengine-generator"});
    for (const std::string count : {kTries, "boot/grub/dupengine/entries.cfg"}) {
        EXPECT_THAT(unit, testing::HasSubstr("/" + count));
        EXPECT_THAT(generator, testing::HasSubstr("/" + count));
    }
}

}  // namespace
}  // namespace dupengine

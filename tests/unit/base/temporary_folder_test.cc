#include "base/temporary_folder.h"

#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;

class TemporaryFolders : public testing::Test {
  protected:
    TemporaryFolder make() const { return {place_, "test-", Code::kInternal}; }
    // As a process leaves it that is killed. Returns where.
    fs::path leave(const std::function<void(const fs::path&)>& work = [](const fs::path&) {}) const {
        const pid_t child = ::fork();
        if (child == 0) {
            const TemporaryFolder folder = make();
            work(folder.path());
            ::raise(SIGKILL);
        }
        ::waitpid(child, nullptr, 0);
        EXPECT_EQ(names().size(), 1u);
        return place_ + "/" + names().front();
    }
    std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(place_))
            names.push_back(entry.path().filename());
        return names;
    }
    static void put(const fs::path& file) { std::ofstream(file) << "content"; }

    test::ScratchFolder scratch_;
    std::string place_ = scratch_.file("place");
    bool made_ = fs::create_directory(place_);
};

TEST_F(TemporaryFolders, AreOursAloneAndGoWithAllThatIsInThem) {
    {
        const TemporaryFolder folder = make();
        EXPECT_TRUE(folder.path().starts_with(place_ + "/dupengine-test-"));
        EXPECT_EQ(fs::status(folder.path()).permissions(), fs::perms::owner_all);
        fs::create_directory(folder.file("inner"));
        put(folder.file("inner/file"));
    }
    EXPECT_TRUE(names().empty());
}

TEST_F(TemporaryFolders, ThatAKilledProcessLeftAreSweptByTheNext) {
    const std::string other = scratch_.file("other"), kept = other + "/kept";
    fs::create_directory(other);
    put(kept);
    const fs::path left = leave([&](const fs::path& folder) {
        fs::create_directories(folder / "a/b");
        put(folder / "a/b/file");
        ::mkfifo((folder / "fifo").c_str(), 0600);
        fs::create_symlink(other, folder / "a/link");
    });
    EXPECT_TRUE(fs::exists(left / "a/b/file"));
    const TemporaryFolder next = make();
    EXPECT_FALSE(fs::exists(left));
    EXPECT_TRUE(fs::exists(next.path()));
    EXPECT_TRUE(fs::exists(kept)) << "it followed a link";
}

TEST_F(TemporaryFolders, ThatAreInUseStay) {
    const TemporaryFolder first = make(), second = make();
    EXPECT_TRUE(fs::exists(first.path()));
    EXPECT_TRUE(fs::exists(second.path()));
}

TEST_F(TemporaryFolders, ThatManyMakeAtTheSameTimeAreEachOnesOwn) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([this] {
            for (int round = 0; round < 200; ++round) {
                const TemporaryFolder folder = make();
                put(folder.file("file"));
                ASSERT_TRUE(fs::exists(folder.file("file"))) << "another took it away";
            }
        });
    threads.clear();
    EXPECT_TRUE(names().empty());
}

// What looks like one, or nearly.
TEST_F(TemporaryFolders, AreAllThatIsSwept) {
    const fs::path left = leave();
    const auto copy_to = [&](const std::string& name) {
        fs::copy(left, place_ + "/" + name, fs::copy_options::recursive);
        fs::permissions(place_ + "/" + name, fs::perms::owner_all);
    };
    copy_to("dupengine-backup");
    fs::remove(place_ + "/dupengine-backup/.in-use");
    put(place_ + "/dupengine-backup/file");
    copy_to("dupengine-x");
    copy_to("other-abcdef");
    copy_to("dupengine-open00");
    fs::permissions(place_ + "/dupengine-open00", fs::perms(0755));
    copy_to("dupengine-link00");
    fs::rename(place_ + "/dupengine-link00/.in-use", scratch_.file("lock"));
    fs::create_symlink(scratch_.file("lock"), place_ + "/dupengine-link00/.in-use");
    copy_to("dupengine-elsewhere");
    fs::rename(place_ + "/dupengine-elsewhere", scratch_.file("elsewhere"));
    fs::create_directory_symlink(scratch_.file("elsewhere"), place_ + "/dupengine-linked");
    put(place_ + "/dupengine-a-file");
    std::size_t stay = 7;
    if (::geteuid() == 0) {
        copy_to("dupengine-strange");
        ASSERT_EQ(::chown((place_ + "/dupengine-strange").c_str(), 1, 1), 0);
        ++stay;
    }
    copy_to("dupengine-locked");
    const Fd lock = open_path(place_ + "/dupengine-locked/.in-use", O_RDONLY, Code::kInternal);
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    { const TemporaryFolder next = make(); }
    EXPECT_FALSE(fs::exists(left));
    EXPECT_EQ(names().size(), stay + 1);
    EXPECT_TRUE(fs::exists(place_ + "/dupengine-backup/file"));
    EXPECT_TRUE(fs::exists(scratch_.file("elsewhere/.in-use")));
}

TEST_F(TemporaryFolders, WithoutAPlaceAreAnErrorOfWhoWantsThem) {
    try {
        const TemporaryFolder folder(place_ + "/none", "", Code::kRefused);
        ADD_FAILURE() << "it was made";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
    }
}

}  // namespace
}  // namespace dupengine

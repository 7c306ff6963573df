#include "machine/facts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "base/units.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

// A machine of files.
class MadeUp {
  public:
    MadeUp() {
        put("proc/version", "Linux version 6.1.0-50-amd64 (debian-kernel@lists.debian.org)\n");
        put("proc/sys/kernel/osrelease", "6.1.0-50-amd64\n");
        put("proc/meminfo",
            "MemTotal:        1000000 kB\nMemFree:          200000 kB\nMemAvailable:     600000 kB\n");
        put("proc/kcore", "");
        put("proc/self/mounts",
            "sysfs /sys sysfs rw,nosuid 0 0\n"
            "/dev/sda2 / ext4 rw,relatime 0 0\n"
            "/dev/sda1 /boot/efi vfat rw,relatime 0 0\n"
            "/dev/sda2 /srv/a\\040place ext4 rw,relatime 0 0\n"
            "/dev/sr0 /media iso9660 ro,relatime 0 0\n");
        put("sys/power/state", "freeze mem disk\n");
        put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        put("dev/snapshot", "");
    }
    void put(const std::string& name, const std::string& text) const {
        const std::filesystem::path path = folder_.file(name);
        std::filesystem::create_directories(path.parent_path());
        write_file_atomic(path, as_bytes(text), 0600, Code::kInternal);
    }
    void take_away(const std::string& name) const { std::filesystem::remove(folder_.file(name)); }
    layout::SystemRoots roots() const {
        return {folder_.file("proc"), folder_.file("sys"), folder_.file("dev")};
    }

  private:
    test::ScratchFolder folder_;
};

TEST(Facts, OfAMachineThatCouldBeDuplicatedWithItsMemory) {
    const MadeUp machine;
    const Facts facts = read_facts(machine.roots());
    EXPECT_EQ(facts.release, "6.1.0-50-amd64");
    EXPECT_EQ(facts.memory_bytes, 1000000 * kKiB);
    EXPECT_EQ(facts.memory_in_use_bytes, 400000 * kKiB);
    EXPECT_EQ(facts.lockdown, "none");
    EXPECT_EQ(obstacles_to_snapshots(facts), std::vector<std::string>{});
}

TEST(Facts, EachObstacleIsNamed) {
    const MadeUp machine;
    machine.put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    machine.put("sys/power/state", "freeze mem\n");
    machine.put("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 400000 kB\n");
    machine.take_away("dev/snapshot");
    machine.take_away("proc/kcore");
    const auto obstacles = obstacles_to_snapshots(read_facts(machine.roots()));
    ASSERT_EQ(obstacles.size(), 5u);
    const char* const words[] = {"integrity", "hibernate", "/dev/snapshot", "kcore", "memory"};
    for (std::size_t i = 0; i < obstacles.size(); ++i)
        EXPECT_NE(obstacles[i].find(words[i]), std::string::npos) << obstacles[i];
}

TEST(Facts, AKernelWithoutTheFilesLacksAllOfIt) {
    const test::ScratchFolder empty;
    const Facts facts = read_facts({empty.path(), empty.path(), empty.path()});
    EXPECT_FALSE(obstacles_to_snapshots(facts).empty());
    EXPECT_TRUE(mounted_filesystems({empty.path(), empty.path(), empty.path()}).empty());
}

TEST(Facts, WhichFilesystemsComeToRest) {
    const MadeUp machine;
    const auto mounted = mounted_filesystems(machine.roots());
    ASSERT_EQ(mounted.size(), 2u) << "each once, and only what can be written";
    EXPECT_EQ(mounted[0].point, "/");
    EXPECT_TRUE(mounted[0].can_freeze);
    EXPECT_EQ(mounted[1].point, "/boot/efi");
    EXPECT_FALSE(mounted[1].can_freeze);
}

}  // namespace
}  // namespace dupengine::machine

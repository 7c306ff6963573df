// Who uses a disk, on the real kernel: loop devices with real filesystems, swap and partitions. What was busy
// must be found under every name, and must be free again when its user is gone.

#include "layout/in_use.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using layout::find_uses;
using layout::same_storage;
using layout::Use;
using test::LoopDevice;
using test::must_run;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class MountPoint {
  public:
    MountPoint(const std::string& what, const std::string& where,
               const std::vector<std::string>& options = {})
        : where_(where) {
        fs::create_directories(where);
        std::vector<std::string> argv = {"mount"};
        argv.insert(argv.end(), options.begin(), options.end());
        argv.insert(argv.end(), {what, where});
        must_run(argv);
    }
    ~MountPoint() { ::umount2(where_.c_str(), MNT_DETACH); }
    MountPoint(const MountPoint&) = delete;
    MountPoint& operator=(const MountPoint&) = delete;

  private:
    std::string where_;
};

// Another name of a block device.
class DeviceNode {
  public:
    DeviceNode(const std::string& path, const std::string& of) : path_(path) {
        struct stat st {};
        if (::stat(of.c_str(), &st) != 0 || ::mknod(path.c_str(), S_IFBLK | 0600, st.st_rdev) != 0)
            throw_errno(Code::kInternal, errno, "{}: cannot be made", path);
    }
    ~DeviceNode() { ::unlink(path_.c_str()); }
    DeviceNode(const DeviceNode&) = delete;
    DeviceNode& operator=(const DeviceNode&) = delete;
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

class Swap {
  public:
    explicit Swap(const std::string& device) : device_(device) {
        must_run({"mkswap", device});
        must_run({"swapon", device});
    }
    ~Swap() { ::swapoff(device_.c_str()); }
    Swap(const Swap&) = delete;
    Swap& operator=(const Swap&) = delete;

  private:
    std::string device_;
};

// A child that does `work`, says that it is ready, and stays until it is ended.
class Child {
  public:
    explicit Child(const std::function<bool()>& work) {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) throw_errno(Code::kInternal, errno, "no pipe");
        const Fd read_end(fds[0]);
        Fd write_end(fds[1]);
        pid_ = ::fork();
        if (pid_ < 0) throw_errno(Code::kInternal, errno, "no child");
        if (pid_ == 0) {
            const char answer = work() ? 'y' : 'n';
            if (::write(write_end.get(), &answer, 1) == 1)
                for (;;)
                    ::pause();
            ::_exit(1);
        }
        write_end = Fd();
        char answer = 'n';
        if (::read(read_end.get(), &answer, 1) != 1 || answer != 'y') {
            end();
            throw_error(Code::kInternal, "the child could not do its work");
        }
    }
    ~Child() { end(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    pid_t pid() const { return pid_; }

  private:
    void end() const {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    pid_t pid_ = -1;
};

std::vector<std::string> lines(const std::vector<Use>& uses) {
    std::vector<std::string> found;
    for (const Use& use : uses)
        found.push_back(use.device + " " + use.detail);
    return found;
}

class InUseSystem : public ::testing::Test {
  protected:
    InUseSystem() : file_(scratch_.sparse_file("disk", 64 * kMiB)), disk_(file_) {}
    void make_filesystem(const std::string& device) { must_run({"mkfs.ext4", "-q", "-F", device}); }
    std::string mounted(const std::string& device, const std::string& point) {
        return fmt::format("{} mounted on {}: umount {}", device, point, point);
    }

    test::ScratchFolder scratch_;
    std::string file_;
    LoopDevice disk_;
};

TEST_F(InUseSystem, ALoopDeviceIsFreeAndItsFileIsNot) {
    EXPECT_THAT(find_uses(disk_.path()), IsEmpty());
    EXPECT_THAT(lines(find_uses(file_)),
                ElementsAre(fmt::format("{} backs {}: losetup -d {}", file_, disk_.path(), disk_.path())));
}

TEST_F(InUseSystem, AMountIsFoundUnderEveryNameOfTheDiskAndIsGoneWithIt) {
    make_filesystem(disk_.path());
    const DeviceNode other(scratch_.file("another-node"), disk_.path());
    const std::string& node = other.path();
    const std::string link = scratch_.file("link");
    fs::create_symlink(disk_.path(), link);
    {
        const MountPoint mount(disk_.path(), scratch_.file("mount"));
        for (const std::string& name : {disk_.path(), node, link})
            EXPECT_THAT(lines(find_uses(name)), ElementsAre(mounted(disk_.path(), scratch_.file("mount"))))
                << name;
        EXPECT_THAT(lines(find_uses(file_)), Contains(mounted(disk_.path(), scratch_.file("mount"))));
        EXPECT_TRUE(same_storage(node, link));
        EXPECT_TRUE(same_storage(node, file_));
    }
    EXPECT_THAT(find_uses(disk_.path()), IsEmpty());
}

TEST_F(InUseSystem, AReadOnlyMountThroughAnotherNodeCounts) {
    make_filesystem(disk_.path());
    const DeviceNode node(fmt::format("/dev/dupengine-test-{}", ::getpid()), disk_.path());
    const MountPoint mount(node.path(), scratch_.file("mount"), {"-o", "ro"});
    EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(mounted(disk_.path(), scratch_.file("mount"))));
}

TEST_F(InUseSystem, ABindMountKeepsTheDiskInUseAfterTheFirstMountIsGone) {
    make_filesystem(disk_.path());
    auto first = std::make_unique<MountPoint>(disk_.path(), scratch_.file("mount"));
    fs::create_directories(scratch_.file("mount/folder"));
    const MountPoint bind(scratch_.file("mount/folder"), scratch_.file("bind"), {"--bind"});
    first.reset();
    EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(mounted(disk_.path(), scratch_.file("bind"))));
}

TEST_F(InUseSystem, AMountInAnotherNamespaceIsFoundThoughTheNodeItWasMountedFromIsGone) {
    make_filesystem(disk_.path());
    const std::string point = scratch_.file("hidden");
    fs::create_directories(point);
    {
        auto node =
            std::make_unique<DeviceNode>(fmt::format("/dev/dupengine-test-{}", ::getpid()), disk_.path());
        const Child child([&] {
            return ::unshare(CLONE_NEWNS) == 0 &&
                   ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                   ::mount(node->path().c_str(), point.c_str(), "ext4", 0, nullptr) == 0;
        });
        node.reset();
        EXPECT_EQ(read_file("/proc/self/mountinfo", Code::kInternal).find(point), std::string::npos);
        const auto uses = find_uses(disk_.path());
        ASSERT_THAT(uses, SizeIs(1));
        EXPECT_EQ(uses[0].kind, Use::Kind::kMounted);
        EXPECT_THAT(uses[0].detail, HasSubstr(fmt::format("nsenter -t {} -m umount {}", child.pid(), point)));
    }
    EXPECT_THAT(find_uses(disk_.path()), IsEmpty());
}

TEST_F(InUseSystem, AChrootInAnotherNamespaceDoesNotHideTheRestOfIt) {
    make_filesystem(disk_.path());
    const std::string point = scratch_.file("hidden"), jail = scratch_.file("jail");
    fs::create_directories(point);
    fs::create_directories(jail);
    // The jailed process comes first in /proc (the lower number) and sees nothing but its jail.
    std::unique_ptr<Child> jailed;
    jailed = std::make_unique<Child>([&] {
        return ::unshare(CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::chroot(jail.c_str()) == 0 && ::chdir("/") == 0;
    });
    const Child other([&] {
        const std::string path = fmt::format("/proc/{}/ns/mnt", jailed->pid());
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        return fd >= 0 && ::setns(fd, CLONE_NEWNS) == 0 &&
               ::mount(disk_.path().c_str(), point.c_str(), "ext4", 0, nullptr) == 0;
    });
    EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(HasSubstr("mounted on " + point)));
}

TEST_F(InUseSystem, AMountWithoutAnyProcessToShowItIsHeldAllTheSame) {
    make_filesystem(disk_.path());
    fs::create_directories(scratch_.file("mount"));
    must_run({"mount", disk_.path(), scratch_.file("mount")});
    const Fd kept = open_path(scratch_.file("mount"), O_RDONLY | O_DIRECTORY, Code::kInternal);
    must_run({"umount", "--lazy", scratch_.file("mount")});
    const auto uses = find_uses(disk_.path());
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].kind, Use::Kind::kOpenExclusively);
}

TEST_F(InUseSystem, SwapOnADiskIsFoundUnderEveryName) {
    const std::string link = scratch_.file("link");
    fs::create_symlink(disk_.path(), link);
    {
        const Swap swap(disk_.path());
        EXPECT_THAT(lines(find_uses(link)),
                    ElementsAre(fmt::format("{} swap: swapoff {}", disk_.path(), disk_.path())));
    }
    EXPECT_THAT(find_uses(link), IsEmpty());
}

TEST_F(InUseSystem, PartitionsAreUsedOneByOneAndTheDiskByAllOfThem) {
    RunOptions layout;
    layout.input = "label: gpt\n,24M\n,24M\n";
    must_run({"sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", file_}, layout);
    must_run({"partx", "--add", disk_.path()});
    const std::string first = disk_.path() + "p1", second = disk_.path() + "p2";
    make_filesystem(second);
    {
        const MountPoint mount(second, scratch_.file("mount"));
        const auto expected = mounted(second, scratch_.file("mount"));
        EXPECT_THAT(find_uses(first), IsEmpty());
        EXPECT_THAT(lines(find_uses(second)), ElementsAre(expected));
        EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(expected));
        const auto of_file = find_uses(file_);
        EXPECT_THAT(lines(of_file), Contains(expected));
        EXPECT_EQ(find_uses(disk_.path()).at(0).part, (block::Extent{25 * kMiB, 49 * kMiB}));
    }
    EXPECT_TRUE(same_storage(first, disk_.path()));
    EXPECT_TRUE(same_storage(first, file_));
    EXPECT_FALSE(same_storage(first, second));
    must_run({"partx", "--delete", disk_.path()});
}

TEST_F(InUseSystem, ALoopDeviceOverALoopDeviceAndItsMountAreFoundFromTheFile) {
    make_filesystem(disk_.path());
    const LoopDevice upper(disk_.path());
    const MountPoint mount(upper.path(), scratch_.file("mount"));
    EXPECT_THAT(
        lines(find_uses(disk_.path())),
        ElementsAre(fmt::format("{} backs {}: losetup -d {}", disk_.path(), upper.path(), upper.path()),
                    mounted(upper.path(), scratch_.file("mount"))));
    EXPECT_THAT(lines(find_uses(file_)), Contains(mounted(upper.path(), scratch_.file("mount"))));
    EXPECT_TRUE(same_storage(upper.path(), file_));
}

TEST_F(InUseSystem, ADeletedFileOrARenamedOneDoesNotHideItsLoopDevice) {
    fs::create_hard_link(file_, scratch_.file("kept"));
    fs::remove(file_);
    scratch_.sparse_file("disk", kMiB);  // another file under the old name
    EXPECT_THAT(lines(find_uses(scratch_.file("kept"))), ElementsAre(HasSubstr("backs " + disk_.path())));
    EXPECT_THAT(find_uses(file_), IsEmpty())
        << "the new file of the old name is not what the loop device reads";
    EXPECT_FALSE(same_storage(file_, disk_.path()));
    EXPECT_TRUE(same_storage(scratch_.file("kept"), disk_.path()));
}

TEST_F(InUseSystem, TwoLoopDevicesOverPartsOfOneFileDoNotBlockEachOther) {
    LoopDevice::Options head, tail;
    head.size_bytes = 16 * kMiB;
    tail.offset_bytes = 16 * kMiB;
    const std::string image = scratch_.sparse_file("image", 32 * kMiB);
    const LoopDevice first(image, head), second(image, tail);
    EXPECT_THAT(find_uses(first.path()), IsEmpty());
    EXPECT_FALSE(same_storage(first.path(), second.path()));
    const auto uses = find_uses(image);
    ASSERT_THAT(uses, SizeIs(2));
    for (const Use& use : uses)
        EXPECT_THAT(use.part,
                    AnyOf(Eq(block::Extent{0, 16 * kMiB}), Eq(block::Extent{16 * kMiB, 32 * kMiB})));
    const LoopDevice all(image);
    EXPECT_THAT(lines(find_uses(first.path())), ElementsAre(HasSubstr("backs " + all.path())));
}

TEST_F(InUseSystem, AFileInsideAMountedDiskThatBacksALoopDeviceIsFound) {
    make_filesystem(disk_.path());
    auto mount = std::make_unique<MountPoint>(disk_.path(), scratch_.file("mount"));
    test::must_run({"truncate", "--size=8M", scratch_.file("mount/inner")});
    const LoopDevice inner(scratch_.file("mount/inner"));
    EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(mounted(disk_.path(), scratch_.file("mount")),
                                                            HasSubstr("backs " + inner.path())));
    mount.reset();  // lazily: the filesystem lives on below the loop device, and no namespace shows it
    EXPECT_THAT(lines(find_uses(disk_.path())), ElementsAre(HasSubstr("backs " + inner.path())));
}

TEST_F(InUseSystem, AProgramThatHoldsTheDiskExclusivelyIsNamed) {
    const std::string path = disk_.path();
    const Child child([&] { return ::open(path.c_str(), O_RDONLY | O_EXCL) >= 0; });
    const auto uses = find_uses(path);
    ASSERT_THAT(uses, SizeIs(1));
    EXPECT_EQ(uses[0].kind, Use::Kind::kOpenExclusively);
    EXPECT_THAT(uses[0].detail, HasSubstr(fmt::format("process {}", child.pid())));
}

TEST_F(InUseSystem, ADiskThatIsOnlyReadIsFree) {
    const Fd reader = open_path(disk_.path(), O_RDONLY, Code::kInternal);
    EXPECT_THAT(find_uses(disk_.path()), IsEmpty());
}

TEST_F(InUseSystem, LookingForUsersWhileProcessesComeAndGoNeverFails) {
    make_filesystem(disk_.path());
    const MountPoint mount(disk_.path(), scratch_.file("mount"));
    const Child busy([] {
        if (::fork() == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) {
                const pid_t pid = ::fork();
                if (pid == 0) ::_exit(0);
                if (pid > 0) ::waitpid(pid, nullptr, 0);
            }
        }
        return true;
    });
    for (int round = 0; round < 50; ++round)
        ASSERT_THAT(find_uses(disk_.path()), SizeIs(1));
}

}  // namespace
}  // namespace dupengine

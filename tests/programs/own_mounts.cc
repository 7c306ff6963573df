// Tests run side by side, and a process that makes a mount namespace of its own takes along whatever others
// have mounted at that moment: their disks stay in use until it ends. So every test mounts in a namespace of
// its own, which nobody else copies, and which takes its mounts away with it even if it is killed.

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

namespace {

class OwnMounts : public ::testing::Environment {
  public:
    void SetUp() override {
        if (::geteuid() != 0) return;  // those that need root say so themselves
        ASSERT_EQ(::unshare(CLONE_NEWNS), 0) << "a mount namespace of its own";
        ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr), 0);
    }
};

// GoogleTest owns it.
[[maybe_unused]] const ::testing::Environment* const kOwnMounts =
    ::testing::AddGlobalTestEnvironment(new OwnMounts);

}  // namespace

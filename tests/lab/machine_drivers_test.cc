// The drivers that a machine's devices ask for, of Debian's own kernel. Runs on the lab machine
// (tests/machine/lab.sh).

#include "bootloader_hooks/media/machine_drivers.h"

#include <gmock/gmock.h>
#include <sys/utsname.h>

namespace dupengine::boot {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Not;

TEST(MachineDrivers, AreThoseOfItsDevices) {
    utsname kernel{};
    ASSERT_EQ(::uname(&kernel), 0);
    const auto drivers = find_machine_drivers(kernel.release);
    EXPECT_THAT(drivers, AllOf(Contains("virtio_pci"), Contains("9pnet_virtio")))
        << "its root comes over these";
    EXPECT_THAT(drivers, AllOf(Not(Contains("nvme")), Not(Contains("ena"))));
    EXPECT_LT(drivers.size(), 40u);
}

}  // namespace
}  // namespace dupengine::boot

// A duplicate must not draw the source's numbers: something that only it has goes in, or it is not said to
// be.

#include "machine/reseed.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "base/fd.h"
#include "tests/support/scratch.h"

namespace dupengine::machine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

RandomDevices no_devices() {
    RandomDevices devices;
    devices.kernel = "/nowhere/random";
    devices.hardware = "/nowhere/hwrng";
    devices.processor = [](std::span<std::byte>) { return false; };
    return devices;
}

const std::string kSecret = "what only this node knows";

TEST(Reseed, WithNothingOfItsOwnItIsRefusedAndTheKernelNotTouched) {
    try {
        reseed_kernel({}, no_devices());
        FAIL() << "it would draw the source's numbers";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), Code::kRefused);
        EXPECT_THAT(e.what(), HasSubstr("nothing that only this machine has"));
    }
}

TEST(Reseed, WhereTheKernelDoesNotTakeItItIsNoSuccess) {
    RandomDevices devices = no_devices();
    EXPECT_THROW(reseed_kernel(as_bytes(kSecret), devices), Error);
    devices.kernel = "/dev/null";
    EXPECT_THROW(reseed_kernel(as_bytes(kSecret), devices), Error) << "a device that takes everything";
}

TEST(Reseed, EachSourceIsNamedAndTheSecretItselfIsNotInIt) {
    const Seed seed = gather_seed(as_bytes(kSecret), no_devices());
    EXPECT_THAT(seed.sources, ElementsAre("secret"));
    EXPECT_EQ(as_text(seed.bytes).find(kSecret), std::string::npos);
    EXPECT_NE(seed.bytes, gather_seed(as_bytes(kSecret), no_devices()).bytes)
        << "woken twice, it is two machines";
    EXPECT_THAT(gather_seed({}, no_devices()).sources, IsEmpty());
    RandomDevices devices = no_devices();
    devices.processor = [](std::span<std::byte> bytes) {
        std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});
        return true;
    };
    EXPECT_THAT(gather_seed({}, devices).sources, ElementsAre("processor"));
}

TEST(Reseed, OfAHardwareGeneratorWhatTheKernelMayHaveKeptIsNotCounted) {
    const test::ScratchFolder folder;
    RandomDevices devices = no_devices();
    devices.hardware = folder.file("hwrng");
    Bytes bytes(1024, std::byte{1});
    std::fill(bytes.begin() + 512, bytes.end(), std::byte{2});
    write_file_atomic(devices.hardware, std::span(bytes).first(575), 0600, Code::kInternal);
    EXPECT_THAT(gather_seed({}, devices).sources, IsEmpty()) << "too little of it";
    write_file_atomic(devices.hardware, bytes, 0600, Code::kInternal);
    const Seed seed = gather_seed({}, devices);
    EXPECT_THAT(seed.sources, ElementsAre("hardware"));
    EXPECT_TRUE(
        std::all_of(seed.bytes.end() - 64, seed.bytes.end(), [](std::byte b) { return b == std::byte{2}; }));
    write_file_atomic(devices.hardware, Bytes(1024), 0600, Code::kInternal);
    EXPECT_THAT(gather_seed({}, devices).sources, IsEmpty()) << "a generator of zeros is none";
}

}  // namespace
}  // namespace dupengine::machine

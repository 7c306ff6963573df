// What a verifier reads in the event log: whose profile counted, byte for byte, and all that was done.

#include <gmock/gmock.h>

#include "codec/digest.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using test::kFallback, test::kStorage, test::kWeb;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string hexadecimal(const codec::Sha256& digest) {
    std::string text;
    for (const std::byte b : digest)
        text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
    return text;
}

using EfiMeasure = test::EfiApplication;

TEST_F(EfiMeasure, NamesTheProfileByItsDigestAndThenTheChoice) {
    const std::string text = kWeb + "[boot]\ntimeout = 0\n";
    machine_.add_disk(1);
    machine_.set_profile(0, text, 7);
    machine_.files[{0, kFallback}] = "loader";
    run();
    EXPECT_THAT(machine_.measured,
                ElementsAre("dupengine profile web-1 7 " + hexadecimal(codec::sha256(as_bytes(text))),
                            "dupengine choice disk", "dupengine choice restart"));
}

TEST_F(EfiMeasure, SaysThatNoProfileCounted) {
    machine_.add_disk(1);
    machine_.add_disk(2);
    machine_.set_profile(0, kWeb);
    machine_.set_profile(1, kStorage);
    machine_.files[{0, kFallback}] = "loader";
    run();
    EXPECT_THAT(machine_.measured, ElementsAre("dupengine profile none", "dupengine choice restart"));
}

// The fallback, and what a person chose instead, are choices as well.
TEST_F(EfiMeasure, LeavesNothingOutThatWasTried) {
    machine_.add_disk(1);
    machine_.set_profile(
        0, kWeb + "[boot]\ntimeout = 0\nfallback = \"kernel\"\nkernel = \"/linux\"\ninitrd = \"/initrd\"\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.files[{0, "/linux"}] = "kernel";
    machine_.files[{0, "/initrd"}] = "initrd";
    machine_.keys = {'s', 'f'};
    run();
    EXPECT_THAT(machine_.measured, ElementsAre(StartsWith("dupengine profile web-1"), "dupengine choice disk",
                                               "dupengine choice kernel", "dupengine choice shell",
                                               "dupengine choice setup", "dupengine choice restart"));
}

TEST_F(EfiMeasure, ThatFailsIsSaidAndStopsNothing) {
    machine_.add_disk(1);
    machine_.set_profile(0, kWeb + "[boot]\ntimeout = 0\n");
    machine_.files[{0, kFallback}] = "loader";
    machine_.no_measure = "the device fails";
    run();
    EXPECT_THAT(machine_.said, HasSubstr("The TPM has not measured this start: the device fails.\n"));
    EXPECT_THAT(machine_.done, ElementsAre(StartsWith("program")));
}

}  // namespace
}  // namespace dupengine

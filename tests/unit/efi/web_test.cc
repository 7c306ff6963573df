// Files of [boot] that come from a web server: what may pass is waited for, and nothing is believed that is
// not signed.

#include "efi/core/web.h"

#include <gmock/gmock.h>

#include "efi/core/boot_file.h"
#include "profiles/schema.h"
#include "tests/support/signing_keys.h"
#include "tests/unit/efi/efi_application.h"

namespace dupengine {
namespace {

using efi::TextView;
using test::string_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string fault_of(const std::string& address) {
    efi::WebAddress into;
    return string_of(efi::read_web_address({address.data(), address.size()}, into));
}

TEST(WebAddress, NamesAHostAndAFile) {
    efi::WebAddress into;
    EXPECT_EQ(string_of(efi::read_web_address("http://10.0.2.2:8080/a/b?c=d", into)), "");
    EXPECT_EQ(string_of(into.authority), "10.0.2.2:8080");
    EXPECT_EQ(string_of(efi::read_web_address("http://boot.example.org/linux", into)), "");
    EXPECT_EQ(string_of(into.authority), "boot.example.org");
}

// What `dupengine profile validate` takes, firmware fetches, and nothing else.
TEST(WebAddress, IsTheSameForWhoeverReadsAProfile) {
    for (const std::string address : {"http://10.0.2.2:8080/a/b?c=d",
                                      "http://a/b",
                                      "http://a:65535/b",
                                      "http://A-b.c:1/d:e@f",
                                      "https://a/b",
                                      "ftp://a/b",
                                      "http:///b",
                                      "http://a",
                                      "http://a/",
                                      "http://a:/b",
                                      "http://a:0/b",
                                      "http://a:65536/b",
                                      "http://a:+1/b",
                                      "http://a:8x/b",
                                      "http://user@a/b",
                                      "http://a/b c",
                                      "http://a/b#c",
                                      "http://[::1]/b",
                                      "http://a_b/c",
                                      "http://"}) {
        const auto check =
            profiles::check_profile(test::kWeb + "[boot]\nkernel = \"" + address + "\"\n", "p.toml");
        EXPECT_EQ(check.problems.empty(), fault_of(address).empty()) << address;
    }
}

TEST(WebAddress, IsRefusedWhereItSaysSomethingElse) {
    for (const std::string address :
         {"https://a/b", "ftp://a/b", "http:///b", "http://a", "http://a/", "http://a:/b", "http://a:0/b",
          "http://a:65536/b", "http://a:99999999999/b", "http://a:8x/b", "http://user@a/b", "http://a/b c",
          "http://a/b#c", "http://[::1]/b", "http://a/\x80", "http://", ""})
        EXPECT_NE(fault_of(address), "") << address;
    EXPECT_EQ(fault_of("http://a:65535/b"), "");
}

TEST(WebAnswer, TellsWhatPassesFromWhatDoesNot) {
    EXPECT_TRUE(efi::answer_of(3).reason.empty());
    EXPECT_EQ(string_of(efi::answer_of(21).reason), "the web server does not have it");
    EXPECT_FALSE(efi::answer_of(21).may_pass);
    EXPECT_TRUE(efi::answer_of(38).may_pass);
    for (std::uint32_t code : {0u, 4u, 9u, 10u, 16u, 17u, 20u, 0xffffffffu})
        EXPECT_FALSE(efi::answer_of(code).reason.empty()) << code;
}

TEST(WebAnswer, APartIsNotTheWholeFile) {
    EXPECT_TRUE(efi::answer_of_part(9).reason.empty());
    EXPECT_THAT(string_of(efi::answer_of_part(3).reason), HasSubstr("does not give parts"));
    EXPECT_EQ(string_of(efi::answer_of_part(21).reason), "the web server does not have it");
    EXPECT_TRUE(efi::answer_of_part(38).may_pass);
    EXPECT_EQ(string_of(efi::range_of(0, 512)), "bytes=0-511");
    EXPECT_EQ(string_of(efi::range_of(1ull << 40, 1 << 20)), "bytes=1099511627776-1099512676351");
}

TEST(WebAnswer, SaysHowLongItIs) {
    EXPECT_TRUE(efi::is_content_length("Content-Length"));
    EXPECT_FALSE(efi::is_content_length("Content-Lengt"));
    EXPECT_FALSE(efi::is_content_length("Content-Range!"));
    EXPECT_EQ(efi::read_content_length("1073741824"), 1073741824u);
    for (const TextView value : {TextView(""), TextView("-1"), TextView("1 "), TextView("0x10"),
                                 TextView("99999999999999999999999999")})
        EXPECT_EQ(efi::read_content_length(value), std::nullopt) << string_of(value);
}

TEST(WebBody, HoldsNoMoreThanWasAnnounced) {
    Bytes memory(10);
    efi::WebBody body(memory);
    EXPECT_EQ(body.room(4).size(), 4u);
    EXPECT_TRUE(body.filled(4).empty());
    EXPECT_EQ(body.room(100).size(), 6u);
    EXPECT_EQ(body.room(100).data(), memory.data() + 4);
    EXPECT_EQ(string_of(body.filled(7)), "the web server sent more than it said");
    EXPECT_EQ(string_of(body.filled(0)), "the web server stopped half-way");
    EXPECT_FALSE(body.complete());
    EXPECT_TRUE(body.filled(6).empty());
    EXPECT_TRUE(body.complete());
    EXPECT_TRUE(body.room(100).empty());
}

// A machine whose kernel and initrd come from a web server.
class EfiWebFiles : public test::EfiApplication {
  protected:
    void SetUp() override {
        machine_.add_disk(1);
        machine_.web = {{kLinux, "kernel"}, {kInitrd, "initrd"}};
    }
    void set_profile(const std::string& text) { machine_.set_profile(0, text); }

    const std::string kLinux = "http://10.0.2.2/linux", kInitrd = "http://10.0.2.2:81/initrd";
    const std::string kProfile = test::kWeb + "[boot]\nchoice = \"kernel\"\ntimeout = 0\nkernel = \"" +
                                 kLinux + "\"\ninitrd = \"" + kInitrd + "\"\n";
};

TEST_F(EfiWebFiles, AreFetchedOnceAndStarted) {
    set_profile(kProfile);
    run();
    EXPECT_THAT(machine_.done, ElementsAre("kernel " + kLinux + ": kernel with initrd: "));
    EXPECT_EQ(machine_.reads, 2u);
    EXPECT_THAT(machine_.said, HasSubstr("Starts the kernel " + kLinux + ".\n"));
}

TEST_F(EfiWebFiles, AreWaitedForWhereWaitingHelps) {
    set_profile(kProfile);
    machine_.network_faults = {"no DHCP server gives this machine an address",
                               "the web server stopped half-way"};
    machine_.keys = std::deque<char>(20, '\0');
    run();
    EXPECT_THAT(machine_.done, ElementsAre("kernel " + kLinux + ": kernel with initrd: "));
    EXPECT_THAT(machine_.said, HasSubstr("Not fetched: no DHCP server gives this machine an address.\n"
                                         "\rAgain in 10 s; any key stops that."));
    EXPECT_THAT(machine_.said, HasSubstr("Not fetched: the web server stopped half-way.\n"));
    EXPECT_EQ(machine_.waited_ms, 20000u);
}

TEST_F(EfiWebFiles, AreNotWaitedForByAPersonWhoPressesAKey) {
    set_profile(kProfile);
    machine_.network_faults = std::deque<std::string>(100, "no web server answers there");
    machine_.keys = {'\0', '\0', 'q'};
    run();
    EXPECT_THAT(machine_.done, IsEmpty());
    EXPECT_THAT(machine_.said, HasSubstr("Back in dupengine: its initrd cannot be read.\n"));
    EXPECT_EQ(machine_.network_faults.size(), 99u);
}

TEST_F(EfiWebFiles, ThatNeverComeAreFollowedByTheFallback) {
    set_profile(kProfile + "fallback = \"disk\"\n");
    machine_.files[{0, test::kGrub}] = "grub";
    machine_.network_faults = std::deque<std::string>(100, "no web server answers there");
    machine_.keys = std::deque<char>(400, '\0');
    machine_.comes_back = "it gave up";
    machine_.keys.resize(10 * (efi::kMostFetches - 1));
    run();
    EXPECT_THAT(machine_.done, ElementsAre("program " + test::kGrub + " of disk 0: grub"));
    EXPECT_EQ(machine_.network_faults.size(), 100 - efi::kMostFetches);
}

TEST_F(EfiWebFiles, ThatTheServerDoesNotHaveAreNotWaitedFor) {
    set_profile(kProfile);
    machine_.web.erase(kLinux);
    run();
    EXPECT_THAT(machine_.done, IsEmpty());
    EXPECT_EQ(machine_.waited_ms, 0u);
    EXPECT_THAT(machine_.said, HasSubstr("Not fetched: the web server does not have it.\n"));
    EXPECT_THAT(machine_.said, HasSubstr("Back in dupengine: its kernel cannot be read.\n"));
}

TEST_F(EfiWebFiles, AreBelievedOnlyWithASignature) {
    const test::SigningKeyPair owner;
    const std::array<efi::PublicKey, 1> keys = {owner.public_key()};
    machine_.trusted = {keys, true};
    set_profile(owner.sign_profile(kProfile));
    run();
    EXPECT_THAT(machine_.said, HasSubstr("Back in dupengine: its initrd is not signed.\n"));
    machine_.web[kInitrd + ".sig"] = owner.sign_file("initrd");
    machine_.web[kLinux + ".sig"] = owner.sign_file("another kernel");
    run();
    EXPECT_THAT(machine_.said, HasSubstr("Back in dupengine: its kernel is not as it was signed.\n"));
    EXPECT_THAT(machine_.done, IsEmpty());
    machine_.web[kLinux + ".sig"] = owner.sign_file("kernel");
    run();
    EXPECT_THAT(machine_.done, ElementsAre("kernel " + kLinux + ": kernel with initrd: "));
}

TEST_F(EfiWebFiles, WithAnAddressOfAnotherKindAreNotStarted) {
    set_profile(test::kWeb +
                "[boot]\nchoice = \"kernel\"\ntimeout = 0\nkernel = \"https://10.0.2.2/linux\"\n");
    run();
    EXPECT_THAT(machine_.done, IsEmpty());
    EXPECT_THAT(machine_.said,
                HasSubstr("start the kernel of the profile: not here, only http:// is fetched here"));
}

}  // namespace
}  // namespace dupengine

// Answers of the kernel are parsed as whatever they might be.

#include "machine/netlink.h"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/random.h"

namespace dupengine::machine {
namespace {

TEST(Netlink, AnAttributeIsFoundBehindOthersOfOddLengths) {
    NetlinkQuestion question(RTM_NEWLINK, 0, ifinfomsg{});
    question.add_name(IFLA_IFNAME, "eth0");
    question.add(IFLA_ADDRESS, as_bytes("sixbyt"));
    question.add_number(IFLA_MTU, std::uint32_t{1400});
    const NetlinkAnswer answer{RTM_NEWLINK, question.body()};
    EXPECT_EQ(as_name(answer.attribute<ifinfomsg>(IFLA_IFNAME)), "eth0");
    EXPECT_EQ(as_text(answer.attribute<ifinfomsg>(IFLA_ADDRESS)), "sixbyt");
    EXPECT_EQ(as_value<std::uint32_t>(answer.attribute<ifinfomsg>(IFLA_MTU)), 1400u);
    EXPECT_TRUE(answer.attribute<ifinfomsg>(IFLA_MASTER).empty());
}

TEST(Netlink, AListThatIsCutOffOrLiesAboutLengthsEndsThere) {
    NetlinkQuestion question(RTM_NEWLINK, 0, ifinfomsg{});
    question.add_name(IFLA_IFNAME, "eth0");
    question.add_number(IFLA_MTU, std::uint32_t{1400});
    for (std::size_t size = 0; size < question.body().size(); ++size) {
        NetlinkAnswer cut{RTM_NEWLINK,
                          Bytes(question.body().begin(), question.body().begin() + static_cast<long>(size))};
        EXPECT_TRUE(cut.attribute<ifinfomsg>(IFLA_MTU).empty()) << size;
    }
    for (const std::size_t length : {0, 1, 3, 0xffff}) {
        NetlinkAnswer lying{RTM_NEWLINK, question.body()};
        store_le<std::uint16_t>(lying.body, sizeof(ifinfomsg), static_cast<std::uint16_t>(length));
        EXPECT_TRUE(lying.attribute<ifinfomsg>(IFLA_MTU).empty()) << length;
    }
    SeededRandom random(1);
    for (int i = 0; i < 10'000; ++i) {
        Bytes noise(random.below(80));
        random.fill(noise);
        for (std::uint16_t attribute = 0; attribute < 8; ++attribute)
            EXPECT_LE(find_attribute(noise, attribute).size(), noise.size());
    }
}

TEST(Netlink, ShortAnswersReadAsZeros) {
    const NetlinkAnswer none{RTM_NEWLINK, {}};
    EXPECT_EQ(none.header<ifinfomsg>().ifi_index, 0);
    EXPECT_EQ(as_value<std::uint32_t>(std::span<const std::byte>()), 0u);
    EXPECT_EQ(as_name(as_bytes("eth0")), "eth0") << "without its zero";
}

}  // namespace
}  // namespace dupengine::machine

// The profile store in variables of firmware, on a folder in the place of efivarfs: an update that firmware
// refuses costs nobody his profile, and the node's secret is not for everybody.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"
#include "profiles/stores/variables.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";

template <typename Work>
std::string message_of(Code code, Work work) {
    try {
        work();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    return "accepted";
}

class VariableStoreTest : public ::testing::Test {
  protected:
    VariableStoreTest() {
        write_file_atomic(scratch_.file("BootOrder-x"), as_bytes("1234"), 0644, Code::kInternal);
    }
    StoredProfile first() { return first_profile(kNode, "p.toml", random_); }
    void init() { init_variable_store(scratch_.path(), first(), false); }
    std::string file(char which) const {
        return scratch_.file(fmt::format("DupengineProfile{}-87463cd7-2602-467b-beac-b3b17a82e3d0", which));
    }
    std::string content(char which) const { return read_file(file(which), Code::kInternal); }
    void put(char which, const std::string& content) const {
        write_file_atomic(file(which), as_bytes(content), 0600, Code::kInternal);
    }
    std::string set(const std::string& remark) {
        const std::string text = kNode + remark;
        set_profile(*store_, text, "p.toml");
        return text;
    }

    test::ScratchFolder scratch_;
    std::unique_ptr<ProfileStore> store_ = open_store("efivar:" + scratch_.path());
    SeededRandom random_{1};
};

TEST_F(VariableStoreTest, IsAVariableWithItsAttributesThatOnlyRootReads) {
    init();
    EXPECT_EQ(content('A').substr(0, 20), std::string("\x07\0\0\0", 4) + "DUPENGINE-SLOT-1");
    EXPECT_EQ(content('A').size(), 4u + 80 + 32 + std::string(kNode).size());
    struct stat info {};
    ASSERT_EQ(::stat(file('A').c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    EXPECT_FALSE(fs::exists(file('B')));
}

TEST_F(VariableStoreTest, TakesAnUpdateIntoTheOtherVariableAndKeepsTheSecret) {
    init();
    const std::string secret = store_->read().secret.bytes;
    const std::string before = content('A');
    const std::string second = set("# two\n");
    EXPECT_EQ(content('A'), before);
    EXPECT_EQ(store_->read().text, second);
    const std::string third = set("");
    EXPECT_EQ(store_->read().text, third);
    EXPECT_EQ(store_->look().newest_slot, 0u);
    EXPECT_EQ(store_->read().generation, 3u);
    EXPECT_EQ(store_->read().secret.bytes, secret);
}

// The kernel makes all of them readable again with every start.
TEST_F(VariableStoreTest, IsRootsAloneAgainAfterAnUpdate) {
    init();
    set("# two\n");
    fs::permissions(file('A'), fs::perms(0644));
    set("# three\n");
    struct stat info {};
    ASSERT_EQ(::stat(file('A').c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(VariableStoreTest, IsTheOlderOneWhereTheNewerIsDamaged) {
    init();
    set("# two\n");
    std::string damaged = content('B');
    damaged.back() = static_cast<char>(damaged.back() ^ 1);
    put('B', damaged);
    EXPECT_EQ(store_->read().text, kNode);
    EXPECT_THAT(store_->look().reasons(), HasSubstr("slot 1: bad checksum of its content"));
    put('B', content('A') + "x");
    EXPECT_THAT(store_->look().reasons(), HasSubstr("slot 1: longer than it says"));
    put('B', content('A').substr(0, 90));
    EXPECT_THAT(store_->look().reasons(), HasSubstr("slot 1: cut short"));
    // The next update repairs it.
    const std::string text = set("# three\n");
    EXPECT_EQ(store_->look().newest_slot, 1u);
    EXPECT_EQ(store_->read().text, text);
}

TEST_F(VariableStoreTest, IsNotMadeOverAnotherProfile) {
    init();
    EXPECT_THAT(message_of(Code::kRefused, [&] { init(); }), HasSubstr("there is a profile already"));
    put('A', "\x07");
    put('B', std::string("\x07\0\0\0nonsense", 12));
    const auto again = [&](bool replace_damaged) {
        init_variable_store(scratch_.path(), first(), replace_damaged);
    };
    EXPECT_THAT(message_of(Code::kRefused, [&] { again(false); }), HasSubstr("--replace-damaged"));
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { store_->read(); }), HasSubstr("neither copy"));
    again(true);
    EXPECT_EQ(store_->read().text, kNode);
}

TEST_F(VariableStoreTest, IsChangedByOneProgramAtATime) {
    init();
    const Fd other = open_path(scratch_.path(), O_RDONLY | O_DIRECTORY, Code::kInternal);
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    EXPECT_THAT(message_of(Code::kRefused, [&] { set("# two\n"); }), HasSubstr("another program"));
    EXPECT_EQ(store_->read().text, kNode);
}

TEST_F(VariableStoreTest, IsMissedInPlainWords) {
    EXPECT_THAT(message_of(Code::kUnsupported, [&] { open_store("efivar:/nowhere")->read(); }),
                HasSubstr("not started by UEFI firmware"));
    EXPECT_FALSE(has_variable_store("/nowhere"));
    EXPECT_FALSE(has_variable_store(scratch_.path()));
    EXPECT_THAT(message_of(Code::kIntegrity, [&] { store_->read(); }),
                HasSubstr("never been written; run: dupengine profile init --store efivar:"));
    init();
    EXPECT_TRUE(has_variable_store(scratch_.path()));
    EXPECT_THAT(message_of(Code::kUsage, [] { open_store("efivars:"); }), HasSubstr("and efivar: are"));
}

}  // namespace
}  // namespace dupengine::profiles

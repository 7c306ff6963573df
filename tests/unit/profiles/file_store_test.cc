#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"
#include "profiles/stores/file.h"
#include "tests/support/scratch.h"

namespace dupengine::profiles {
namespace {

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

class FileStoreTest : public ::testing::Test {
  protected:
    void init(const std::string& text = kNode) {
        init_file_store(path_, first_profile(text, "p.toml", random_), false);
    }

    test::ScratchFolder scratch_;
    std::string path_ = scratch_.file("store");
    SeededRandom random_{1};
};

TEST_F(FileStoreTest, KeepsTheNodesSecretFromOtherUsersOfTheMachine) {
    init();
    struct stat st {};
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST_F(FileStoreTest, GivesBackTheTextByteByByteWithASecret) {
    const std::string text = std::string(kNode) + "# a remark\r\n\n\n";
    init(text);
    const StoredProfile stored = file_store(path_)->read();
    EXPECT_EQ(stored.text, text);
    EXPECT_EQ(stored.generation, 1u);
    EXPECT_EQ(stored.secret.bytes.size(), 32u);
    EXPECT_NE(stored.secret.bytes, std::string(32, '\0'));
}

TEST_F(FileStoreTest, DrawsAnotherSecretForAnotherNode) {
    EXPECT_NE(first_profile("", "", random_).secret.bytes, first_profile("", "", random_).secret.bytes);
}

TEST_F(FileStoreTest, KeepsTheSecretOverEveryUpdate) {
    init();
    const auto store = file_store(path_);
    const std::string secret = store->read().secret.bytes;
    for (std::uint64_t generation = 2; generation < 6; ++generation) {
        EXPECT_EQ(set_profile(*store, kNode, "p.toml").generation, generation);
        EXPECT_EQ(store->read().secret.bytes, secret);
    }
}

TEST_F(FileStoreTest, TakesTheGenerationOfTheTextIfItGrows) {
    init("generation = 41\n" + std::string(kNode));
    const auto store = file_store(path_);
    EXPECT_EQ(store->read().generation, 41u);
    EXPECT_THAT(message_of(Code::kRefused,
                           [&] { set_profile(*store, "generation = 41\n" + std::string(kNode), "p.toml"); }),
                HasSubstr("p.toml: generation 41 is not larger than 41"));
    EXPECT_EQ(set_profile(*store, "generation = 50\n" + std::string(kNode), "p.toml").generation, 50u);
    EXPECT_EQ(set_profile(*store, kNode, "p.toml").generation, 51u);
    EXPECT_EQ(load_node(store->read(), store->name()).profile.generation, 51u);
}

TEST_F(FileStoreTest, NeverStoresABadTextOrARole) {
    init();
    const auto store = file_store(path_);
    EXPECT_THAT(message_of(Code::kUsage, [&] { set_profile(*store, "nope", "p.toml"); }),
                HasSubstr("p.toml:1:"));
    EXPECT_THAT(
        message_of(Code::kUsage,
                   [&] { set_profile(*store, "schema = 1\nkind = \"role\"\nrole = \"web\"\n", "web.toml"); }),
        HasSubstr("web.toml: is a role"));
    EXPECT_EQ(store->read().generation, 1u);
    EXPECT_THAT(message_of(Code::kUsage, [&] { first_profile("nope", "p.toml", random_); }),
                HasSubstr("p.toml:1:"));
}

TEST_F(FileStoreTest, TellsAStoreWithoutAProfileFromADamagedOne) {
    init("");
    const auto store = file_store(path_);
    EXPECT_THAT(message_of(Code::kRefused, [&] { load_node(store->read(), store->name()); }),
                HasSubstr("holds no profile yet"));
    set_profile(*store, kNode, "p.toml");
    EXPECT_EQ(load_node(store->read(), store->name()).profile.node, "web-1");
    EXPECT_THAT(message_of(Code::kIntegrity,
                           [&] {
                               load_node({3, "schema = 9", {}}, "file:x");
                           }),
                HasSubstr("file:x:1:"));
}

TEST_F(FileStoreTest, NeverMakesAStoreOverAnExistingOneOrAnyOtherFile) {
    init();
    EXPECT_THAT(message_of(Code::kRefused, [&] { init(); }), HasSubstr("there is a profile already"));
    path_ = scratch_.file("letter");
    write_file_atomic(path_, as_bytes("dear reader"), 0644, Code::kInternal);
    EXPECT_THAT(message_of(Code::kRefused, [&] { init(); }), HasSubstr("too small for a profile store"));
    EXPECT_EQ(read_file(path_, Code::kInternal), "dear reader");
    path_ = scratch_.file("film");
    const std::string film(3 * kMiB, 'f');
    write_file_atomic(path_, as_bytes(film), 0644, Code::kInternal);
    EXPECT_THAT(message_of(Code::kRefused, [&] { init(); }), HasSubstr("neither copy can be used"));
    EXPECT_EQ(read_file(path_, Code::kInternal), film);
}

TEST_F(FileStoreTest, CompletesAnInitThatWasCutAfterTheFileWasMade) {
    scratch_.sparse_file("store", kStoreMinimumBytes);
    init();
    EXPECT_EQ(file_store(path_)->read().text, kNode);
}

TEST_F(FileStoreTest, NeverMakesAFileInDev) {
    for (bool dry : {true, false})
        EXPECT_THAT(message_of(Code::kRefused,
                               [&] {
                                   if (dry) return check_new_file_store("/dev/dupengine-no-such-disk", false);
                                   init_file_store("/dev/dupengine-no-such-disk",
                                                   first_profile("", "", random_), false);
                               }),
                    HasSubstr("lies in /dev"));
    EXPECT_FALSE(std::filesystem::exists("/dev/dupengine-no-such-disk"));
}

TEST_F(FileStoreTest, MakesNothingWhereThereIsNoFolder) {
    path_ = scratch_.file("no/such/store");
    EXPECT_THAT(message_of(Code::kRefused, [&] { init(); }), HasSubstr("cannot be used"));
    EXPECT_THAT(message_of(Code::kRefused, [&] { file_store(path_)->read(); }), HasSubstr("cannot be used"));
}

TEST_F(FileStoreTest, IsNotWrittenByTwoAtOnce) {
    init();
    const Fd other = open_path(path_, O_RDWR, Code::kInternal);
    ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
    const auto store = file_store(path_);
    EXPECT_THAT(message_of(Code::kRefused, [&] { set_profile(*store, kNode, "p.toml"); }), HasSubstr("lock"));
    EXPECT_EQ(store->read().generation, 1u);
}

TEST(StoreSpec, KnowsTwoKindsOfStore) {
    EXPECT_EQ(parse_store_spec("partition:/dev/sda").path, "/dev/sda");
    EXPECT_EQ(parse_store_spec("partition:/dev/sda").kind, StoreSpec::Kind::kPartition);
    EXPECT_EQ(parse_store_spec("file:a:b").path, "a:b");
    for (const char* bad : {"", "/dev/sda", "partition:", "file:", "efi:x", "PARTITION:/dev/sda"})
        EXPECT_THAT(message_of(Code::kUsage, [&] { parse_store_spec(bad); }),
                    HasSubstr("is no profile store"))
            << bad;
}

}  // namespace
}  // namespace dupengine::profiles

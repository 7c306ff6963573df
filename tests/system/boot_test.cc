// The verb `boot`, and `profile sign`: what a user signs is what firmware takes, and nothing is left
// half-done.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"
#include "tests/support/signing_keys.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using test::run_dupengine;
using ::testing::HasSubstr;

constexpr const char* kNode = "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n";

class BootVerb : public ::testing::Test {
  protected:
    std::string file(const std::string& name, const std::string& content = "") {
        const std::string path = scratch_.file(name);
        if (!content.empty()) write_file_atomic(path, as_bytes(content), 0640, Code::kInternal);
        return path;
    }
    std::string signature(const std::string& path) const { return read_file(path + ".sig", Code::kInternal); }

    const test::ScratchFolder scratch_;
    const test::SigningKeyPair owner_;
    const std::array<efi::PublicKey, 1> keys_ = {owner_.public_key()};
    const efi::Trust trust_{keys_, true};
};

TEST_F(BootVerb, SignsFilesAsFirmwareWantsIt) {
    const std::string linux = file("linux", "kernel"), initrd = file("initrd", std::string(3 * kMiB, 'i'));
    EXPECT_EQ(run_dupengine({"boot", "sign", "--sign-key", owner_.path(), linux, initrd}).status, 0);
    for (const std::string& path : {linux, initrd}) {
        const std::string content = read_file(path, Code::kInternal), text = signature(path);
        EXPECT_EQ(efi::check_file(trust_, as_bytes(content), {text.data(), text.size()}), efi::Vouched::kYes);
    }
}

TEST_F(BootVerb, SignsAProfileInItsFileAndLeavesWhoMayReadIt) {
    const std::string path = file("node.toml", kNode);
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(run_dupengine({"profile", "sign", "--sign-key", owner_.path(), path}).status, 0);
        const std::string text = read_file(path, Code::kInternal);
        EXPECT_EQ(efi::check_profile(trust_, {text.data(), text.size()}), efi::Vouched::kYes);
        EXPECT_TRUE(text.starts_with(kNode));
    }
    EXPECT_EQ(run_dupengine({"profile", "validate", path}).status, 0);
    EXPECT_EQ(fs::status(path).permissions(), fs::perms{0640});
}

TEST_F(BootVerb, SignsNothingThatIsNoProfileOfANode) {
    const std::string role = file("role.toml", "schema = 1\nkind = \"role\"\n"), none = file("none", "no = ");
    for (const std::string& path : {role, none}) {
        const std::string before = read_file(path, Code::kInternal);
        EXPECT_EQ(run_dupengine({"profile", "sign", "--sign-key", owner_.path(), path}).status, 2);
        EXPECT_EQ(read_file(path, Code::kInternal), before);
    }
}

TEST_F(BootVerb, PutsKeysIntoTheApplicationAndIntoNothingElse) {
    const std::string program = fs::path(test::command()).parent_path() / "dupengine.efi";
    const std::string out = file("keyed.efi");
    const RunResult made = run_dupengine({"boot", "keys", "--trust", owner_.path() + ".pub", program, out});
    EXPECT_EQ(made.status, 0) << made.err;
    const std::string before = read_file(program, Code::kInternal), after = read_file(out, Code::kInternal);
    ASSERT_EQ(before.size(), after.size());
    std::size_t changed = 0;
    for (std::size_t i = 0; i < before.size(); ++i)
        changed += before[i] != after[i] ? 1 : 0;
    EXPECT_LE(changed, 1 + sizeof(efi::PublicKey));
    EXPECT_NE(after.find(as_text(keys_[0])), std::string::npos);
    const RunResult refused = run_dupengine(
        {"boot", "keys", "--trust", owner_.path() + ".pub", file("x", "MZ and more"), file("y")});
    EXPECT_EQ(refused.status, 2);
    EXPECT_THAT(refused.err, HasSubstr("/x: it is no dupengine.efi that can hold keys"));
    EXPECT_FALSE(fs::exists(file("y")));
}

}  // namespace
}  // namespace dupengine

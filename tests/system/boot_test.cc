// The verb `boot`, and `profile sign`: what a user signs is what firmware takes, and nothing is left
// half-done.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "efi/core/piece_digests.h"
#include "tests/support/signing_keys.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
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

TEST_F(BootVerb, MakesDigestsThatFirmwareHoldsAnImageAgainst) {
    const std::string content = std::string(kMiB, 'a') + std::string(kMiB + 7, 'b'),
                      image = file("web.img", content);
    for (int round = 0; round < 2; ++round) {
        const RunResult made = run_dupengine({"boot", "digests", image});
        EXPECT_EQ(made.status, 0) << made.err;
    }
    const std::string digests = read_file(image + ".digests", Code::kInternal);
    efi::PieceDigests read;
    ASSERT_TRUE(efi::read_piece_digests(as_bytes(digests), read).empty());
    EXPECT_EQ(read.image_bytes, content.size());
    EXPECT_TRUE(read.hold(0, as_bytes(content).first(kMiB)));
    EXPECT_TRUE(read.hold(1, as_bytes(content).subspan(kMiB, kMiB)));
    EXPECT_TRUE(read.hold(2, as_bytes(content).last(7)));
    EXPECT_FALSE(read.hold(2, as_bytes(content).last(6)));
    EXPECT_FALSE(read.hold(0, as_bytes(content).subspan(1, kMiB)));
    EXPECT_EQ(run_dupengine({"boot", "digests", scratch_.file("none")}).status, 3);
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

// Variables of firmware in a folder of their own; two pages of room, of which one is taken.
class BootStart : public ::testing::Test {
  protected:
    BootStart() {
        test::must_run({"mount", "-t", "tmpfs", "-o", "size=8k", "none", folder_.path()});
        write_file_atomic(folder_.file("BootOrder-x"), as_bytes("1234"), 0644, Code::kInternal);
    }
    ~BootStart() override { test::must_run({"umount", folder_.path()}); }
    RunResult boot(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), "boot");
        arguments.insert(arguments.end(), {"--efivars", folder_.path()});
        return run_dupengine(arguments);
    }
    void fill() const {
        EXPECT_NE(run_program({"dd", "if=/dev/zero", "of=" + folder_.file("dump"), "bs=4k"}).status, 0);
    }

    const test::ScratchFolder folder_;
};

TEST_F(BootStart, CountsAndConfirms) {
    EXPECT_THAT(boot({"status"}).out, HasSubstr("starts are not counted"));
    EXPECT_EQ(boot({"tries", "3"}).status, 0);
    EXPECT_THAT(boot({"status"}).out, HasSubstr("tries that are left: 3; not confirmed"));
    EXPECT_EQ(json::parse(boot({"status", "--json"}).out)["tries"], "3");
    EXPECT_THAT(boot({"confirm"}).out, HasSubstr("came up well, with 3 tries left"));
    EXPECT_EQ(json::parse(boot({"confirm", "--json"}).out)["confirmed"], false);
    EXPECT_EQ(boot({"tries", "0"}).status, 2);
    EXPECT_EQ(boot({"tries", "100"}).status, 2);
}

TEST_F(BootStart, SaysThatNobodyFollowsWhereNoApplicationStartedTheMachine) {
    EXPECT_THAT(boot({"once", "menu"}).out, HasSubstr("no dupengine.efi started this machine"));
    EXPECT_THAT(boot({"status"}).out, HasSubstr("does, once: menu"));
    EXPECT_EQ(boot({"once", "--forget"}).status, 0);
    EXPECT_THAT(boot({"status"}).out, HasSubstr("what the profile says"));
    EXPECT_EQ(boot({"once"}).status, 2);
    EXPECT_EQ(boot({"once", "nonsense"}).status, 2);
}

TEST_F(BootStart, SaysThatTheFirmwareIsFullAndLeavesNoHalfVariable) {
    fill();
    const RunResult result = boot({"tries", "3"});
    EXPECT_EQ(result.status, 9);
    EXPECT_THAT(result.err, HasSubstr("DupengineTries: the firmware has no room left for variables"));
    EXPECT_THAT(boot({"status"}).out, HasSubstr("starts are not counted"));
}

TEST(BootWithoutFirmware, IsSaid) {
    const RunResult result = run_dupengine({"boot", "confirm", "--efivars", "/nowhere"});
    EXPECT_EQ(result.status, 9);
    EXPECT_EQ(result.err, "dupengine: /nowhere: not there; this machine was not started by UEFI firmware\n");
}

// A role that cannot be counted is not taken up: nobody would notice that it does not start.
TEST_F(BootStart, ARoleIsCountedBeforeItIsTakenUp) {
    const test::ScratchFolder work;
    fs::create_directories(work.path() + "/root/etc");
    write_file_atomic(work.file("root/etc/hostname"), as_bytes("golden\n"), 0644, Code::kInternal);
    write_file_atomic(work.file("p.toml"), as_bytes(std::string(kNode) + "[boot]\ntries = 2\n"), 0644,
                      Code::kInternal);
    const std::string store = "file:" + work.file("store");
    ASSERT_EQ(run_dupengine({"profile", "init", "--store", store, "--from", work.file("p.toml")}).status, 0);
    const std::vector<std::string> assume = {"assume",  "--yes", "--root",    work.file("root"),
                                             "--store", store,   "--efivars", folder_.path()};
    fill();
    EXPECT_EQ(run_dupengine(assume).status, 9);
    EXPECT_EQ(read_file(work.file("root/etc/hostname"), Code::kInternal), "golden\n");
    fs::remove(folder_.file("dump"));
    const RunResult taken = run_dupengine(assume);
    EXPECT_EQ(taken.status, 0) << taken.err;
    EXPECT_THAT(taken.out, HasSubstr("note: dupengine.efi tries this system 2 times"));
    EXPECT_THAT(boot({"status"}).out, HasSubstr("tries that are left: 2"));
    EXPECT_EQ(run_dupengine(assume).status, 0);
    EXPECT_EQ(read_file(work.file("root/etc/hostname"), Code::kInternal), "web-1\n");
}

}  // namespace
}  // namespace dupengine

// LUKS containers that are open: made, opened and filled through the kernel's own dm-crypt. Only what the
// filesystem inside uses is copied, and the copy opens with the same key. Runs on the lab machine.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "tests/support/aged_filesystem.h"
#include "tests/support/disk_image.h"
#include "tests/support/filesystems.h"

namespace dupengine::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// cryptsetup open, until the end of it.
class Mapping {
  public:
    Mapping(const std::string& device, const std::string& key, const std::string& name) : name_(name) {
        must_run({"cryptsetup", "open", "--key-file", key, device, name});
    }
    ~Mapping() { must_run({"cryptsetup", "close", name_}); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    std::string path() const { return "/dev/mapper/" + name_; }

  private:
    std::string name_;
};

struct Container {
    const char* name;
    std::vector<std::string> format;
};

class OpenLuks : public testing::TestWithParam<Container> {
  protected:
    void SetUp() override {
        write_file_atomic(key_, as_bytes("correct horse"), 0600, Code::kInternal);
        std::vector<std::string> argv = {"cryptsetup", "luksFormat", "--batch-mode",
                                         "--pbkdf-force-iterations", "1000"};
        argv.insert(argv.end(), GetParam().format.begin(), GetParam().format.end());
        argv.insert(argv.end(), {source_, key_});
        must_run(argv);
    }
    // A filesystem with deleted files in it.
    void fill(const Mapping& mapping) {
        must_run({"mkfs.ext4", "-q", mapping.path()});
        const Mount mount(mapping.path(), scratch_.file("mnt"));
        Churn(scratch_.file("mnt"), 7).run(40);
    }
    // The mount is that of the mapping: nothing but device-mapper knows that it lies on the source.
    void expect_refused_while_mounted(const LoopDevice& from, const Mapping& mapping) {
        const Mount mount(mapping.path(), scratch_.file("mnt"));
        const RunResult refused = copy(from.path());
        EXPECT_EQ(refused.status, 3) << refused.out;
        EXPECT_THAT(refused.out, HasSubstr("mounted"));
        EXPECT_TRUE(file_contains(target_, kOldText));
    }
    RunResult copy(const std::string& from) {
        return run_dupengine({"copy", "--yes", "--json", from, target_});
    }

    ScratchFolder scratch_;
    std::string key_ = scratch_.file("key");
    std::string source_ = scratch_.sparse_file("source", kSize);
    std::string target_ = scratch_.sparse_file("target", kSize);
    static constexpr std::uint64_t kSize = 64 * kMiB;
};

struct OpenLuksElsewhere : testing::Test {
    OpenLuksElsewhere() {
        write_file_atomic(key_, as_bytes("correct horse"), 0600, Code::kInternal);
        scratch_.sparse_file("target", 32 * kMiB);
        must_run({"cryptsetup", "luksFormat", "--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
                  "1000", "--header", header_, device_.path(), key_});
        must_run(
            {"cryptsetup", "open", "--key-file", key_, "--header", header_, device_.path(), "lab-elsewhere"});
    }
    ~OpenLuksElsewhere() override { must_run({"cryptsetup", "close", "lab-elsewhere"}); }

    ScratchFolder scratch_;
    std::string key_ = scratch_.file("key"), header_ = scratch_.sparse_file("header", 16 * kMiB);
    LoopDevice device_{scratch_.sparse_file("source", 32 * kMiB)};
};

TEST_P(OpenLuks, OnlyWhatIsUsedInItIsCopiedAndTheCopyOpensWithTheSameKey) {
    fill_with_old_data(target_, kSize);
    const LoopDevice from(source_);
    {
        const Mapping mapping(from.path(), key_, "lab-source");
        fill(mapping);
        expect_refused_while_mounted(from, mapping);
        const RunResult copied = copy(from.path());
        ASSERT_EQ(copied.status, 0) << copied.err << copied.out;
        const json report = json::parse(copied.out);
        EXPECT_LT(report["bytes_used"], kSize * 3 / 4);
        EXPECT_THAT(report["notes"].dump(), HasSubstr("open as lab-source"));
        const RunResult verified = run_dupengine({"verify", from.path(), target_});
        EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    }
    EXPECT_FALSE(file_contains(target_, kOldText));
    const LoopDevice to(target_);
    const Mapping one(from.path(), key_, "lab-source"), other(to.path(), key_, "lab-target");
    const RunResult checked = run_program({"e2fsck", "-fn", other.path()});
    EXPECT_EQ(checked.status, 0) << checked.out << checked.complaint();
    expect_same_mounted(scratch_, one.path(), other.path(), "ext4", "ro");
}

// The plaintext is the open mapping's, so the old key is not needed.
TEST_P(OpenLuks, WithANewKeyTheCopyOpensWithThatAloneAndHasTheSameFiles) {
    fill_with_old_data(target_, kSize);
    const std::string new_key = scratch_.file("new key");
    write_file_atomic(new_key, as_bytes("battery staple"), 0600, Code::kInternal);
    const LoopDevice from(source_);
    const Mapping mapping(from.path(), key_, "lab-source");
    fill(mapping);
    const RunResult copied =
        run_dupengine({"copy", "--yes", "--json", "--luks-new-key-file", new_key, from.path(), target_});
    ASSERT_EQ(copied.status, 0) << copied.err << copied.out;
    EXPECT_LT(json::parse(copied.out)["bytes_used"], kSize * 3 / 4);
    EXPECT_FALSE(file_contains(target_, kOldText));
    const RunResult verified =
        run_dupengine({"verify", "--luks-new-key-file", new_key, from.path(), target_});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    const LoopDevice to(target_);
    EXPECT_NE(run_program({"cryptsetup", "open", "--test-passphrase", "--key-file", key_, to.path()}).status,
              0);
    const Mapping other(to.path(), new_key, "lab-target");
    const RunResult checked = run_program({"e2fsck", "-fn", other.path()});
    EXPECT_EQ(checked.status, 0) << checked.out << checked.complaint();
    expect_same_mounted(scratch_, mapping.path(), other.path(), "ext4", "ro");
}

// On the disk there is nothing to see of such a container but that it is open.
TEST_F(OpenLuksElsewhere, OneWithItsHeaderElsewhereGetsNoNewKeyAndIsRefused) {
    const RunResult refused = run_dupengine(
        {"copy", "--yes", "--json", "--luks-new-key-file", key_, device_.path(), scratch_.file("target")});
    EXPECT_EQ(refused.status, 3) << refused.out;
    EXPECT_THAT(refused.out, HasSubstr("open as lab-elsewhere, a LUKS container with its header elsewhere"));
}

// Another container's mapping, or one that was opened before its header was made anew, says nothing of it.
TEST_P(OpenLuks, OneWhoseHeaderIsNotThatOfItsMappingIsCopiedWhole) {
    const LoopDevice from(source_);
    const Mapping mapping(from.path(), key_, "lab-source");
    must_run({"cryptsetup", "luksUUID", "--batch-mode", "--uuid", "11111111-2222-3333-4444-555555555555",
              from.path()});
    const RunResult looked = run_dupengine({"inspect", "--json", from.path()});
    EXPECT_THAT(looked.out, HasSubstr("open as lab-source, but not as its header says"));
    EXPECT_THAT(looked.out, HasSubstr("\"whole\": true")) << "what is used in it was believed";
}

// On a partition: the mapping's place is one of the disk.
TEST_P(OpenLuks, OneOnAPartitionIsFoundThroughItsDisk) {
    const std::string disk = scratch_.sparse_file("disk", kSize + 4 * kMiB);
    must_run({"sgdisk", "--new=1:1M:+64M", disk});
    must_run({"dd", "if=" + source_, "of=" + disk, "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"});
    must_run({"truncate", "--size=68M", target_});
    const LoopDevice from(disk);
    must_run({"partx", "--add", from.path()});
    const Mapping mapping(from.path() + "p1", key_, "lab-part");
    fill(mapping);
    const RunResult copied = copy(from.path());
    ASSERT_EQ(copied.status, 0) << copied.err << copied.out;
    EXPECT_LT(json::parse(copied.out)["bytes_used"], kSize * 3 / 4);
    const LoopDevice::Options place{true, 512, kMiB, kSize};
    const LoopDevice to(target_, place);
    const Mapping other(to.path(), key_, "lab-copy");
    expect_same_mounted(scratch_, mapping.path(), other.path(), "ext4", "ro");
}

INSTANTIATE_TEST_SUITE_P(
    Of, OpenLuks,
    testing::Values(Container{"Luks1", {"--type", "luks1"}},
                    Container{"Luks2", {"--type", "luks2", "--pbkdf", "pbkdf2", "--sector-size", "4096"}}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace dupengine::test

// What became of an image on a machine: noted where no copy writes, followed by the next copy, told to a
// server.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "machine/efi_variables.h"
#include "profiles/image_notes.h"
#include "tests/support/disk_image.h"
#include "tests/support/nginx.h"

namespace dupengine {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class BootImage : public testing::Test {
  protected:
    BootImage() {
        must({"image", "keygen", key_});
        for (int version = 1; version <= 2; ++version)
            publish();
        scratch_.sparse_file("target.img", 200 << 20);
        const std::string profile = scratch_.file("node.toml");
        std::ofstream(profile) << "schema = 1\nkind = \"node\"\nnode = \"web-1\"\n[boot]\nreport_to = \""
                               << nginx_.https() << "/reports\"\n";
        must({"profile", "init", "--store", "partition:" + target_, "--from", profile});
    }
    std::string make_folder(const std::string& name) const {
        std::filesystem::create_directory(scratch_.file(name));
        return scratch_.file(name);
    }
    // Firmware always has some.
    std::string make_variables() const {
        const std::string folder = make_folder("efivars");
        std::ofstream(folder + "/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c") << "1234";
        return folder;
    }
    json must(const std::vector<std::string>& arguments) {
        const RunResult result = test::run_dupengine(arguments);
        EXPECT_EQ(result.status, 0) << result.err;
        return json::parse(result.out, nullptr, false);
    }
    // The next version, which differs from the others.
    void publish() {
        test::add_file(scratch_, source_, "new-" + std::to_string(trees_.size()), 100000, trees_.size());
        must({"copy", "--sign-key", key_, source_.path, "image:" + store_ + "#web"});
        trees_.push_back(test::root_digest(scratch_, source_, source_.path));
    }
    RunResult copy(const std::string& image, const std::vector<std::string>& more = {}) {
        std::vector<std::string> words = {"copy", "--yes", "--trust", key_ + ".pub"};
        words.insert(words.end(), more.begin(), more.end());
        words.insert(words.end(), {"image:" + store_ + image, target_});
        return test::run_dupengine(words);
    }
    RunResult copy_newer() { return copy("#web", {"--if-newer"}); }
    bool has(std::size_t version) {
        return test::root_digest(scratch_, source_, target_) == trees_.at(version - 1);
    }
    // As firmware and the system of the target do it.
    void is_tried() { profiles::note_tried(target_); }
    void comes_up() {
        firmware_.remove("DupengineTries");
        must({"boot", "confirm", "--efivars", efivars_, "--disk", target_});
    }
    json use_up_tries() {
        firmware_.write("DupengineTries", "0");
        return must({"boot", "failed", "--json", "--efivars", efivars_, "--disk", target_})["failed"];
    }
    void fails() {
        is_tried();
        EXPECT_EQ(use_up_tries().size(), 1u);
    }
    json told() {
        const json said =
            must({"boot", "report", "--json", "--disk", target_, "--ca-file", nginx_.authority()});
        EXPECT_EQ(said["told"], nginx_.https() + "/reports");
        json there = json::parse(read_file(web_ + "/reports/web-1.json", Code::kInternal));
        EXPECT_EQ(said["report"], there);
        return there;
    }

    test::ScratchFolder scratch_;
    const std::string web_ = make_folder("web"), efivars_ = make_variables();
    test::Nginx nginx_{web_};
    machine::EfiVariables firmware_{efivars_};
    test::DiskImage source_ = test::make_disk_image(scratch_, "source.img");
    const std::string store_ = scratch_.file("store"), key_ = scratch_.file("images.key"),
                      target_ = scratch_.file("target.img");
    std::vector<std::string> trees_;  // of each version
};

TEST_F(BootImage, AMachineGoesBackToTheVersionThatCameUpAndTellsItsServer) {
    ASSERT_EQ(copy("#web@1").status, 0);
    EXPECT_EQ(told()["state"], "new");
    is_tried(), comes_up();
    EXPECT_EQ(told()["state"], "healthy");
    ASSERT_EQ(copy_newer().status, 0);
    EXPECT_TRUE(has(2));
    fails();
    const json bad = told();
    EXPECT_EQ(bad["state"], "failed") << bad;
    EXPECT_EQ(bad["version"], 2) << bad;
    EXPECT_EQ(bad["came_up"], 1) << bad;
    const RunResult back = copy_newer();
    ASSERT_EQ(back.status, 0) << back.err;
    EXPECT_THAT(back.err, HasSubstr("web@2 did not come up"));
    EXPECT_TRUE(has(1));
    const RunResult again = copy_newer();
    EXPECT_THAT(again.out, HasSubstr("nothing to copy: " + target_ + " has web@1")) << again.err;
    is_tried(), comes_up();
    const json good = told();
    EXPECT_EQ(good["state"], "healthy") << good;
    EXPECT_EQ(good["version"], 1) << good;
    EXPECT_EQ(good["failed"], 2) << good;
    publish();
    ASSERT_EQ(copy_newer().status, 0);
    EXPECT_TRUE(has(3)) << "a version that nobody tried yet";
}

TEST_F(BootImage, AVersionThatWasNotTriedDidNotFail) {
    ASSERT_EQ(copy("#web@1").status, 0);
    EXPECT_TRUE(use_up_tries().empty()) << "power went before its role was taken up";
    is_tried();
    EXPECT_EQ(use_up_tries(), json({"web@1"}));
    EXPECT_TRUE(use_up_tries().empty()) << "power went before another version was copied";
    EXPECT_EQ(told()["state"], "failed");
    firmware_.write("DupengineTries", "1");
    EXPECT_FALSE(must({"boot", "failed", "--json", "--efivars", efivars_, "--disk", target_})["used_up"]);
}

TEST_F(BootImage, AMachineThatNoVersionCameUpOnWaitsForANewerOne) {
    ASSERT_EQ(copy_newer().status, 0);
    fails();
    const std::string before = test::must_run({"sha256sum", target_});
    const RunResult waits = copy_newer();
    EXPECT_EQ(waits.status, 8) << waits.err;
    EXPECT_THAT(waits.err, HasSubstr("web@2 did not come up"));
    EXPECT_EQ(test::must_run({"sha256sum", target_}), before);
    publish();
    ASSERT_EQ(copy_newer().status, 0);
    EXPECT_TRUE(has(3));
    is_tried(), comes_up();
    // What came up once, and does not any more.
    fails();
    EXPECT_EQ(copy_newer().status, 8);
    // A person who says which one gets it.
    ASSERT_EQ(copy("#web@3").status, 0);
    is_tried(), comes_up();
    EXPECT_EQ(told()["state"], "healthy");
    EXPECT_EQ(told()["failed"], nullptr);
}

// Only what came up may come back: the rest is as old as ever.
TEST_F(BootImage, AnOlderVersionThatDidNotComeUpIsStillRefused) {
    publish();
    ASSERT_EQ(copy("#web@2").status, 0);
    is_tried(), comes_up();
    ASSERT_EQ(copy("#web@3").status, 0);
    EXPECT_EQ(copy("#web@2").status, 3) << "nothing failed";
    fails();
    EXPECT_EQ(copy("#web@1").status, 3);
    EXPECT_EQ(copy("#web@2").status, 0);
    EXPECT_EQ(copy("#web@1").status, 3);
}

TEST_F(BootImage, AServerThatIsAwayOrTakesNothingIsSaid) {
    const auto report = [&](const std::string& to) {
        return test::run_dupengine({"boot", "report", "--disk", target_, "--ca-file", nginx_.authority(),
                                    "--patience", "1", "--to", to});
    };
    EXPECT_EQ(report(nginx_.https() + "/reports").status, 0);
    const RunResult elsewhere = report(nginx_.https() + "/images");
    EXPECT_EQ(elsewhere.status, 8);
    EXPECT_THAT(elsewhere.err, HasSubstr("the server answers with status 405"));
    EXPECT_EQ(report("https://127.0.0.1:1").status, 8);
    EXPECT_EQ(report("ftp://127.0.0.1/").status, 2);
    const RunResult stranger = test::run_dupengine({"boot", "report", "--disk", target_});
    EXPECT_EQ(stranger.status, 7) << "a certificate that nobody vouches for: " << stranger.err;
    EXPECT_EQ(must({"boot", "report", "--json", "--disk", target_, "--dry-run"})["told"], nullptr);
}

}  // namespace
}  // namespace dupengine

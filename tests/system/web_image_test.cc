// Images on a web server become disks, with the command: nginx for what is good, a server of the test for
// what breaks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "tests/support/becomes.h"
#include "tests/support/disk_image.h"
#include "tests/support/nginx.h"
#include "tests/support/running.h"
#include "tests/support/web_server.h"

namespace dupengine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class WebImage : public testing::Test {
  protected:
    WebImage() {
        source_ = test::make_disk_image(scratch_, "source.img");
        must({"image", "keygen", key_});
        fs::create_directory(scratch_.file("www"));
        capture();
    }
    std::string must(const std::vector<std::string>& arguments) {
        const RunResult result = test::run_dupengine(arguments);
        EXPECT_EQ(result.status, 0) << result.err;
        return result.out;
    }
    // How much was new in the store.
    std::uint64_t capture() {
        return json::parse(must({"copy", "--json", "--sign-key", key_, source_.path,
                                 "image:" + store_ + "#web"}))["bytes_stored"];
    }
    RunResult copy(const std::string& from, const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"copy",    "--json",      "--yes", "--create",
                                              "--trust", key_ + ".pub", from,    target_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return test::run_dupengine(arguments);
    }
    std::string tree_of(const std::string& disk) { return test::root_digest(scratch_, source_, disk); }
    void expect_whole() { EXPECT_EQ(tree_of(target_), tree_of(source_.path)); }

    test::ScratchFolder scratch_;
    test::DiskImage source_;
    // Whoever names a folder like that finds his images all the same.
    std::string store_ = scratch_.file("www/dir#name 100% \xc3\xbc?");
    std::string path_ = "/dir%23name 100%25 \xc3\xbc%3F#web";
    std::string key_ = scratch_.file("images.key");
    std::string target_ = scratch_.file("target.img");
};

TEST_F(WebImage, BecomesTheDiskThatWasCapturedOverHttpsAndHttp) {
    test::Nginx nginx(scratch_.file("www"));
    const std::string image = nginx.https() + path_;
    const RunResult copied = copy(image, {"--ca-file", nginx.authority()});
    ASSERT_EQ(copied.status, 0) << copied.err;
    EXPECT_EQ(json::parse(copied.out)["result"], "verified");
    expect_whole();
    const test::Nginx::Traffic traffic = nginx.traffic();
    EXPECT_EQ(traffic.http2_requests, traffic.requests);
    EXPECT_EQ(test::run_dupengine({"verify", "--trust", key_ + ".pub", "--ca-file", nginx.authority(), image})
                  .status,
              0);
    EXPECT_EQ(test::run_dupengine(
                  {"verify", "--trust", key_ + ".pub", "--ca-file", nginx.authority(), image, target_})
                  .status,
              0);
    EXPECT_THAT(must({"inspect", "--ca-file", nginx.authority(), image}), HasSubstr("ext4"));
    const std::string all = nginx.http() + path_.substr(0, path_.find('#'));
    EXPECT_EQ(json::parse(must({"inspect", "--json", all}))["images"].size(), 1u);
    fs::remove(target_);
    EXPECT_EQ(copy(nginx.http() + path_).status, 0);
    expect_whole();
}

TEST_F(WebImage, IsNotTakenFromAServerThatNobodyVouchesFor) {
    const test::Nginx nginx(scratch_.file("www"));
    const RunResult refused = copy(nginx.https() + path_);
    EXPECT_EQ(refused.status, 7) << refused.err;
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_EQ(copy(nginx.https() + "/down" + path_, {"--ca-file", nginx.authority()}).status, 8)
        << "followed from https to http";
    EXPECT_EQ(copy(nginx.https() + path_, {"--ca-file", scratch_.file("missing")}).status, 2);
    EXPECT_EQ(test::run_dupengine({"copy", source_.path, nginx.https() + path_}).status, 2) << "as a target";
    EXPECT_EQ(test::run_dupengine({"image", "prune", nginx.https() + "/x"}).status, 2);
}

TEST_F(WebImage, OfTheNextVersionOnlyWhatChangedTravels) {
    test::Nginx nginx(scratch_.file("www"));
    ASSERT_EQ(copy(nginx.http() + path_).status, 0);
    const std::uint64_t all = nginx.traffic().bytes_sent;
    // Digests and places of all chunks, and the filesystems' structures.
    ASSERT_EQ(copy(nginx.http() + path_).status, 0);
    const std::uint64_t nothing_changed = nginx.traffic().bytes_sent;
    EXPECT_LT(nothing_changed, all / 10);
    test::add_file(scratch_, source_, "change", 4 << 20, 5);
    const std::uint64_t stored = capture();
    const RunResult copied = copy(nginx.http() + path_);
    ASSERT_EQ(copied.status, 0) << copied.err;
    expect_whole();
    const std::uint64_t sent = nginx.traffic().bytes_sent;
    RecordProperty("bytes_of_all", std::to_string(all));
    RecordProperty("bytes_when_nothing_changed", std::to_string(nothing_changed));
    RecordProperty("bytes_stored", std::to_string(stored));
    RecordProperty("bytes_on_the_wire", std::to_string(sent));
    EXPECT_GT(sent, 4u << 20);
    // Of the 32 samples that tell whether the target is alike, those that it lacks come twice.
    constexpr std::uint64_t kSamples = 32 * 64 * kKiB;
    EXPECT_LT(sent, stored * 11 / 10 + nothing_changed + kSamples);
}

TEST_F(WebImage, ThatWasCutByAnOutageGoesOnWithWhatIsThere) {
    std::atomic<std::uint64_t> packs{0};
    test::WebServer server(scratch_.path(), [&](const auto& request, auto& answer) {
        if (request.path.find("/packs/") != std::string::npos) packs += answer.body.size();
        if (packs > (3u << 20)) answer.cut = 0, answer.then = test::WebServer::Then::kReset;
    });
    fs::rename(store_, scratch_.file("plain"));
    const std::string image = server.address() + "/plain#web";
    const RunResult cut = copy(image, {"--patience", "1"});
    EXPECT_EQ(cut.status, 8) << cut.err;
    EXPECT_THAT(cut.err + cut.out, HasSubstr("run the same command again"));
    EXPECT_EQ(test::run_dupengine({"verify", target_}).status, 6) << "it passes for a disk";
    server.set_change({});
    const RunResult copied = copy(image);
    ASSERT_EQ(copied.status, 0) << copied.err;
    expect_whole();
    EXPECT_GT(json::parse(copied.out)["bytes_equal"].get<std::uint64_t>(), 1u << 20);
}

TEST_F(WebImage, FromACacheDoesNotTravelAgainAndAFullCacheIsNoHarm) {
    test::Nginx nginx(scratch_.file("www"));
    const std::string cache = scratch_.file("cache");
    ASSERT_EQ(copy(nginx.http() + path_, {"--cache", cache}).status, 0);
    const std::uint64_t first = nginx.traffic().bytes_sent;
    fs::remove(target_);
    ASSERT_EQ(copy(nginx.http() + path_, {"--cache", cache}).status, 0);
    EXPECT_LT(nginx.traffic().bytes_sent, first / 10);
    expect_whole();
    fs::remove(target_);
    fs::create_directory(scratch_.file("small"));
    test::must_run({"mount", "-t", "tmpfs", "-o", "size=512K,mode=0700", "tmpfs", scratch_.file("small")});
    const RunResult copied = copy(nginx.http() + path_, {"--cache", scratch_.file("small")});
    test::must_run({"umount", scratch_.file("small")});
    EXPECT_EQ(copied.status, 0) << copied.err;
    expect_whole();
}

TEST_F(WebImage, IsReadInLittleMemoryWhateverTheServerSends) {
    test::WebServer server(scratch_.path(), [&](const auto& request, auto& answer) {
        if (request.path.find("/packs/") != std::string::npos) answer.repeats = true;
    });
    fs::rename(store_, scratch_.file("plain"));
    EXPECT_EQ(copy(server.address() + "/plain#web", {"--patience", "1"}).status, 8);
    server.set_change({});
    EXPECT_EQ(copy(server.address() + "/plain#web").status, 0);
    // Of all programs that ended so far the largest.
    ::rusage used{};
    ASSERT_EQ(::getrusage(RUSAGE_CHILDREN, &used), 0);
    RecordProperty("resident_kib", std::to_string(used.ru_maxrss));
    EXPECT_LT(used.ru_maxrss, 128 * 1024);
}

TEST_F(WebImage, ThatNobodyWantsAnyMoreEndsSoonAlsoWhenTheServerIsSilent) {
    std::atomic<std::uint64_t> packs{0};
    test::WebServer server(scratch_.path(), [&](const auto& request, auto& answer) {
        if (request.path.find("/packs/") != std::string::npos) packs += answer.body.size();
        if (packs > (3u << 20)) answer.cut = 0, answer.then = test::WebServer::Then::kStall;
    });
    fs::rename(store_, scratch_.file("plain"));
    test::Running copying(
        {"copy", "--yes", "--create", "--insecure", server.address() + "/plain#web", target_});
    ASSERT_TRUE(test::becomes([&] { return packs > (3u << 20); }));
    copying.signal(SIGINT);
    const RunResult result = copying.end();
    EXPECT_EQ(result.status, 10) << result.err;
}

TEST_F(WebImage, PasswordsAreInNoMessage) {
    const test::Nginx nginx(scratch_.file("www"));
    const std::string host = nginx.http().substr(7);
    for (const std::string& path :
         {path_, std::string("/nothing?token=secret2#web"), std::string("/x#y@z")}) {
        const RunResult result = copy("http://me:secret1@" + host + path, {"--patience", "0"});
        EXPECT_THAT(result.out + result.err, Not(HasSubstr("secret")));
    }
}

}  // namespace
}  // namespace dupengine

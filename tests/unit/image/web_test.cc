// Images on a web server: what is asked for, what is shown, what is kept.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "image/open_image.h"
#include "image/web_address.h"
#include "tests/support/free_port.h"
#include "tests/support/scratch.h"
#include "tests/support/small_store.h"
#include "tests/support/web_server.h"

namespace dupengine::image {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::read_as_a_copy;
using test::WebServer;
using ::testing::HasSubstr;
using ::testing::Not;

std::string error_of(const std::function<void()>& action, Code code) {
    try {
        action();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        return e.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
}

TEST(WebAddress, ShowsNeitherPasswordsNorQueries) {
    const WebAddress address("https://me:secret@example.org:8443/images/?token=hidden");
    EXPECT_EQ(address.shown(), "https://example.org:8443/images");
    EXPECT_EQ(address.user(), "me");
    EXPECT_EQ(address.password(), "secret");
    EXPECT_EQ(address.below("store.json").url(), "https://example.org:8443/images/store.json?token=hidden");
    EXPECT_EQ(address.below("a b/#?").shown(), "https://example.org:8443/images/a b/#?");
    EXPECT_EQ(WebAddress("http://h").below("a b/#?%").url(), "http://h/a%20b/%23%3f%25");
}

TEST(WebAddress, TakesPathsAsPeopleWriteThem) {
    EXPECT_EQ(WebAddress("https://h/mit Leerzeichen/\xc3\xbc").below("x").url(),
              "https://h/mit%20Leerzeichen/%c3%bc/x");
    EXPECT_EQ(WebAddress("https://h/100%25/a%23b").below("x").url(), "https://h/100%25/a%23b/x");
    EXPECT_EQ(WebAddress("HTTPS://[::1]:8080/x").shown(), "https://[::1]:8080/x");
}

TEST(WebAddress, RefusesOtherSchemesWithoutRepeatingWhatMayBeSecret) {
    for (const char* text :
         {"https://", "http://u:secret@", "https://u:secret@h:99999/x", "file:///etc/passwd",
          "ftp://u:secret@h/x", "https://u:secret@h/a#b", "https://u:secret@h/\n"})
        EXPECT_THAT(error_of([&] { WebAddress{text}; }, Code::kUsage), Not(HasSubstr("secret"))) << text;
}

TEST(WebAddress, IsFollowedToSafePlacesOnlyAndTakesThePasswordNowhereElse) {
    const WebAddress here("https://me:secret@h/images");
    EXPECT_FALSE(here.redirected("http://h/images"));
    EXPECT_FALSE(here.redirected("file:///etc/passwd"));
    EXPECT_FALSE(here.redirected(""));
    EXPECT_EQ(here.redirected("https://h/other")->password(), "secret");
    EXPECT_EQ(here.redirected("https://h:444/other")->password(), "");
    EXPECT_EQ(here.redirected("https://you:yours@elsewhere/other")->password(), "");
    const auto up = WebAddress("http://me:secret@h/images").redirected("https://h/images");
    EXPECT_EQ(up->password(), "");
    EXPECT_FALSE(up->redirected("http://h/images"));
}

TEST(References, MayBeOnAWebServer) {
    const auto reference = parse_reference("https://me:secret@h/a%23b?x#web@7");
    EXPECT_EQ(reference->place, "https://me:secret@h/a%23b?x");
    EXPECT_EQ(reference->name, "web");
    EXPECT_EQ(reference->version, 7u);
    EXPECT_EQ(reference->text(), "https://h/a%23b#web@7");
    EXPECT_EQ(parse_reference("http://h")->name, std::nullopt);
    EXPECT_EQ(parse_reference("httpd.img"), std::nullopt);
    EXPECT_THAT(error_of([] { parse_writable_reference("https://me:secret@h/x#web"); }, Code::kUsage),
                Not(HasSubstr("secret")));
}

// Digests and places of a stretch of the disk are asked for as a whole; and the heads of all answers.
constexpr std::uint64_t kListed = 220'000;

class OnAWebServer : public testing::Test {
  protected:
    OnAWebServer() { test::capture_small_disk(store_, disk_); }
    OpenImage open() const { return open_image(*parse_reference(server_.address()), {}, options_); }

    test::ScratchFolder scratch_;
    std::string store_ = scratch_.file("store");
    Bytes disk_ = test::small_disk(1);
    WebServer server_{store_};
    WebOptions options_{.patience = 2s, .stall = 1s};
};

TEST_F(OnAWebServer, AnImageIsReadWholeOverSeveralConnectionsAtOnce) {
    server_.set_change([](const auto&, auto&) { std::this_thread::sleep_for(20ms); });
    EXPECT_EQ(read_as_a_copy(*open().reader), disk_);
    EXPECT_GT(server_.most_at_once(), 1u);
    // Nothing came twice: data, and what is little beside it.
    EXPECT_LT(server_.bytes_sent(), (2u << 20) + (300u << 10));
    EXPECT_LT(server_.requests(), 30u);
}

TEST_F(OnAWebServer, OnlyWhatTheTargetLacksIsFetched) {
    Bytes changed = disk_;
    for (std::size_t at : {std::size_t{1} << 20, std::size_t{2} << 20})
        std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(at), 70'000, std::byte{'y'});
    test::capture_small_disk(store_, changed);
    const OpenImage image = open();
    const std::uint64_t before = server_.bytes_sent();
    std::vector<std::uint64_t> lacking;
    for (std::size_t at = 0; at + kChunkBytes <= disk_.size(); at += kChunkBytes)
        if (!image.reader->holds(at, std::span(disk_).subspan(at, kChunkBytes))) lacking.push_back(at);
    EXPECT_EQ(lacking.size(), 4u);
    Bytes chunk(kChunkBytes);
    for (const std::uint64_t at : lacking) {
        image.reader->read(at, chunk);
        EXPECT_TRUE(std::ranges::equal(chunk, std::span(changed).subspan(at, kChunkBytes)));
    }
    // Two of them are half old bytes, which do not compress.
    EXPECT_LT(server_.bytes_sent() - before, kListed + 150'000);
}

TEST_F(OnAWebServer, APasswordGoesToItsServerAndToNoOther) {
    std::atomic<unsigned> with_password{0}, elsewhere{0};
    const WebServer other(store_, [&](const auto& request, auto&) {
        elsewhere += request.headers.contains("authorization") ? 1 : 0;
    });
    server_.set_change([&](const auto& request, auto& answer) {
        with_password += request.headers.contains("authorization") ? 1 : 0;
        answer = {};
        answer.status = "307 Temporary";
        answer.headers = {{"Location", other.address() + request.path}, {"Content-Length", "0"}};
    });
    const auto reference = parse_reference(fmt::format("http://me:secret@127.0.0.1:{}#web", server_.port()));
    const OpenImage image = open_image(*reference, {}, options_);
    EXPECT_EQ(read_as_a_copy(*image.reader), disk_);
    EXPECT_GT(with_password, 0u);
    EXPECT_EQ(elsewhere, 0u);
    EXPECT_THAT(image.reader->name(), Not(HasSubstr("secret")));
}

TEST_F(OnAWebServer, NobodyWaitsLongForAServerThatIsNotThere) {
    const std::string address = fmt::format("http://127.0.0.1:{}", test::free_port());
    options_.patience = 60s;
    const auto begin = std::chrono::steady_clock::now();
    const auto open_gone = [&] { open_image(*parse_reference(address), {}, options_); };
    EXPECT_THAT(error_of(open_gone, Code::kPeer), HasSubstr("3 tries"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
}

TEST_F(OnAWebServer, WhoIsStoppedDoesNotWaitForIt) {
    OpenImage image = open();
    std::stop_source stop;
    image.files->set_stop(stop.get_token());
    server_.set_change(
        [](const auto&, auto& answer) { answer.cut = 0, answer.then = WebServer::Then::kStall; });
    options_.stall = 60s;
    std::jthread soon([&] {
        std::this_thread::sleep_for(100ms);
        stop.request_stop();
    });
    const auto begin = std::chrono::steady_clock::now();
    error_of([&] { read_as_a_copy(*image.reader); }, Code::kInterrupted);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
}

class ACache : public OnAWebServer {
  protected:
    ACache() {
        options_.cache_folder = folder_;
        EXPECT_EQ(read_as_a_copy(*open().reader), disk_);
    }
    std::vector<fs::path> kept() const {
        std::vector<fs::path> files;
        for (const auto& entry : fs::directory_iterator(folder_))
            files.push_back(entry.path());
        return files;
    }
    // How much came from the server while all was read once more.
    std::uint64_t read_again() {
        const std::uint64_t before = server_.bytes_sent();
        EXPECT_EQ(read_as_a_copy(*open().reader), disk_);
        return server_.bytes_sent() - before;
    }
    std::string folder_ = scratch_.file("cache");
};

TEST_F(ACache, SparesTheSecondWay) {
    EXPECT_LT(read_again(), kListed);
}

TEST_F(ACache, ThatIsDamagedIsFetchedAgainAndNeverBelieved) {
    ASSERT_EQ(kept().size(), 1u);
    {
        std::fstream file(kept().front(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(1 << 19);
        file << std::string(100'000, '!');
    }
    const std::uint64_t fetched = read_again();
    EXPECT_GT(fetched, 290'000u);
    EXPECT_LT(fetched, kListed + 400'000);
    EXPECT_LT(read_again(), kListed) << "what came again was not kept";
    fs::resize_file(kept().front(), 1 << 20);
    EXPECT_GT(read_again(), 1u << 20);
    const fs::path pack = kept().front();
    fs::remove(pack);
    fs::create_directory(pack);
    EXPECT_GT(read_again(), 2u << 20);
}

TEST_F(ACache, HoldsNoMoreThanItMayAndTheOldestGoes) {
    for (std::uint64_t i = 0; i < 8; ++i) {
        const std::string file = fmt::format("{}/{:032x}.cached", folder_, i);
        std::ofstream(file) << std::string(1 << 20, 'o');
        fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(100 - i));
    }
    std::ofstream(folder_ + "/somebody.else") << std::string(1 << 20, 's');
    options_.cache_bytes = 8 << 20;
    read_again();
    EXPECT_FALSE(fs::exists(fmt::format("{}/{:032x}.cached", folder_, 0)));
    EXPECT_TRUE(fs::exists(folder_ + "/somebody.else"));
    EXPECT_LT(read_again(), kListed) << "what was used last went first";
    options_.cache_bytes = 0;
    read_again();
    EXPECT_EQ(kept().size(), 1u) << "only what is somebody else's";
}

TEST_F(ACache, ServesSeveralRunsAtOnce) {
    fs::remove_all(folder_);
    std::vector<std::jthread> runs;
    for (int i = 0; i < 4; ++i)
        runs.emplace_back([&] { EXPECT_EQ(read_as_a_copy(*open().reader), disk_); });
    runs.clear();
    EXPECT_LT(read_again(), kListed);
}

TEST_F(ACache, ThatOthersMayWriteToIsRefused) {
    ASSERT_EQ(::chmod(folder_.c_str(), 0777), 0);
    EXPECT_THAT(error_of([&] { open(); }, Code::kRefused), HasSubstr("others may write"));
}

TEST_F(ACache, WithALinkInItIsNotWrittenThrough) {
    const fs::path pack = kept().front();
    const std::string victim = scratch_.file("victim");
    std::ofstream(victim) << "mine";
    fs::remove(pack);
    fs::create_symlink(victim, pack);
    read_again();
    EXPECT_EQ(fs::file_size(victim), 4u);
}

}  // namespace
}  // namespace dupengine::image

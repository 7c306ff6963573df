// What a web server can do to whoever reads an image from it: nothing but give the right bytes, or end it
// soon with one line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "image/open_image.h"
#include "tests/support/scratch.h"
#include "tests/support/small_store.h"
#include "tests/support/web_server.h"

namespace dupengine::image {
namespace {

using namespace std::chrono_literals;
using test::WebServer;
using Request = WebServer::Request;
using Answer = WebServer::Answer;
using Then = WebServer::Then;

struct BadDay {
    const char* name;
    WebServer::Change change;
    std::optional<Code> code;  // empty: the image comes whole
    const char* says = "";
};

void PrintTo(const BadDay& day, std::ostream* out) {
    *out << day.name;
}

bool is_pack(const Request& request) {
    return request.path.starts_with("/packs/");
}

// The first answer about each pack, and no later one.
WebServer::Change once(std::function<void(Answer&)> change) {
    return [change](const Request& request, Answer& answer) {
        if (is_pack(request) && request.number == 1) change(answer);
    };
}

WebServer::Change to_packs(std::function<void(Answer&)> change) {
    return [change](const Request& request, Answer& answer) {
        if (is_pack(request)) change(answer);
    };
}

WebServer::Change to_heads(std::function<void(Answer&)> change) {
    return [change](const Request& request, Answer& answer) {
        if (request.method == "HEAD") change(answer);
    };
}

WebServer::Change to_all(std::function<void(Answer&)> change) {
    return [change](const Request&, Answer& answer) { change(answer); };
}

void sends_on(Answer& answer, const std::string& location) {
    answer = {};
    answer.status = "302 Found";
    answer.headers = {{"Location", location}, {"Content-Length", "0"}};
}

void is_status(Answer& answer, const std::string& status) {
    answer.status = status;
    answer.body = "<html>" + status + "</html>";
    answer.headers = {{"Content-Length", std::to_string(answer.body.size())}};
}

std::string chunked(const std::string& body) {
    std::string text;
    for (std::size_t at = 0; at < body.size(); at += 1000) {
        const std::string piece = body.substr(at, 1000);
        text += fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
    }
    return text + "0\r\n\r\n";
}

std::vector<BadDay> bad_days() {
    std::vector<BadDay> days;
    // What passes, or is unusual and still right.
    days.push_back({"ClosesBeforeItAnswers", once([](Answer& a) { a.cut = 0, a.then = Then::kClose; }), {}});
    days.push_back({"ResetsWithinTheHead", once([](Answer& a) { a.cut = 40, a.then = Then::kReset; }), {}});
    days.push_back({"ClosesWithinTheBody", once([](Answer& a) { a.cut = 5000, a.then = Then::kClose; }), {}});
    days.push_back({"ResetsWithinTheBody", once([](Answer& a) { a.cut = 9000, a.then = Then::kReset; }), {}});
    days.push_back({"StallsWithinTheBody", once([](Answer& a) { a.cut = 7000, a.then = Then::kStall; }), {}});
    days.push_back({"IsOverloadedOnce", once([](Answer& a) { is_status(a, "503 Unavailable"); }), {}});
    days.push_back({"FailsOnce", once([](Answer& a) { is_status(a, "500 Error"); }), {}});
    days.push_back({"HasAGatewayThatFailsOnce", once([](Answer& a) { is_status(a, "502 Bad"); }), {}});
    days.push_back({"WantsAPause",
                    once([](Answer& a) {
                        is_status(a, "429 Too Many");
                        a.headers["Retry-After"] = "1";
                    }),
                    {}});
    days.push_back({"ClosesEveryConnection",
                    to_all([](Answer& a) {
                        a.headers["Connection"] = "close";
                        a.then = Then::kClose;
                    }),
                    {}});
    days.push_back({"SpeaksTheOldProtocol",
                    to_all([](Answer& a) {
                        a.protocol = "HTTP/1.0";
                        a.then = Then::kClose;
                    }),
                    {}});
    days.push_back({"SendsInPieces",
                    [](const Request& r, Answer& a) {
                        if (r.method == "HEAD") return;
                        a.headers.erase("Content-Length");
                        a.headers["Transfer-Encoding"] = "chunked";
                        a.body = chunked(a.body);
                    },
                    {}});
    days.push_back({"DoesNotKnowHead", to_heads([](Answer& a) { is_status(a, "405 Not Allowed"); }), {}});
    days.push_back({"ForbidsHead",
                    to_heads([](Answer& a) {
                        if (a.status != "404 Not Found") is_status(a, "403 Forbidden");
                    }),
                    {}});
    days.push_back({"TellsNoLength", to_heads([](Answer& a) { a.headers.erase("Content-Length"); }), {}});
    days.push_back({"TellsNothingOfItsFiles",
                    to_all([](Answer& a) {
                        a.headers.erase("ETag");
                        a.headers.erase("Last-Modified");
                    }),
                    {}});
    days.push_back({"MarksTagsAsWeakNowAndThen",
                    [](const Request& r, Answer& a) {
                        if (r.number % 2 == 0) a.headers["ETag"] = "W/" + a.headers["ETag"];
                    },
                    {}});
    days.push_back({"SendsOnToAnotherPath",
                    [](const Request& r, Answer& a) {
                        if (r.path.find("?at=") == std::string::npos) sends_on(a, r.path + "?at=home");
                    },
                    {}});
    days.push_back({"NeverSaysHowLargeTheWholeIs",
                    to_packs([](Answer& a) {
                        std::string& range = a.headers["Content-Range"];
                        range = range.substr(0, range.find('/')) + "/*";
                    }),
                    {}});

    // What does not pass.
    days.push_back({"IsAlwaysOverloaded", to_packs([](Answer& a) { is_status(a, "503 Unavailable"); }),
                    Code::kPeer, "status 503"});
    days.push_back({"WantsAnHour", to_packs([](Answer& a) {
                        is_status(a, "429 Too Many");
                        a.headers["Retry-After"] = "3600";
                    }),
                    Code::kPeer, "3600 s"});
    days.push_back(
        {"NeverAnswers", to_all([](Answer& a) { a.cut = 0, a.then = Then::kClose; }), Code::kPeer});
    days.push_back({"AlwaysResets", to_packs([](Answer& a) { a.cut = 3000, a.then = Then::kReset; }),
                    Code::kPeer, "again"});
    days.push_back({"FallsSilent", to_packs([](Answer& a) { a.cut = 3000, a.then = Then::kStall; }),
                    Code::kPeer, "again"});
    days.push_back({"SaysNothingAtAll", to_all([](Answer& a) { a.cut = 0, a.then = Then::kStall; }),
                    Code::kPeer, "again"});
    days.push_back({"DripsAByteAtATime", to_packs([](Answer& a) { a.drip_ms = 50; }), Code::kPeer, "slow"});
    days.push_back({"AlwaysSendsTooLittle", to_packs([](Answer& a) {
                        a.body.pop_back();
                        a.headers["Content-Length"] = std::to_string(a.body.size());
                    }),
                    Code::kPeer, "bytes"});
    days.push_back({"SendsAByteTooMuch", to_packs([](Answer& a) {
                        a.body += '!';
                        a.headers["Content-Length"] = std::to_string(a.body.size());
                    }),
                    Code::kPeer, "more than it was asked for"});
    days.push_back({"NeverEndsABody", to_packs([](Answer& a) {
                        a.headers.erase("Content-Length");
                        a.repeats = true;
                    }),
                    Code::kPeer, "more than it was asked for"});
    days.push_back({"NeverEndsAHead", to_all([](Answer& a) {
                        a.raw = "HTTP/1.1 200 OK\r\n";
                        for (int i = 0; i < 100; ++i)
                            *a.raw += "X-More: and more\r\n";
                        a.repeats = true;
                    }),
                    Code::kPeer});
    days.push_back({"NeverEndsBeingAboutToAnswer", to_all([](Answer& a) {
                        a.raw = "HTTP/1.1 103 Early Hints\r\n\r\n";
                        a.repeats = true;
                    }),
                    Code::kPeer, "more than it was asked for"});
    days.push_back({"NeverEndsAnErrorPage", to_packs([](Answer& a) {
                        is_status(a, "403 Forbidden");
                        a.headers.clear();
                        a.repeats = true;
                    }),
                    Code::kPeer, "status 403"});
    days.push_back({"IgnoresRange",
                    [](const Request& r, Answer& a) {
                        if (!is_pack(r)) return;
                        a.status = "200 OK";
                        a.headers.erase("Content-Range");
                        a.body.resize(5u << 20, 'x');
                        a.headers["Content-Length"] = std::to_string(a.body.size());
                    },
                    Code::kPeer, "ignores Range"});
    days.push_back({"IgnoresRangeWithoutEnd", to_packs([](Answer& a) {
                        a.status = "200 OK";
                        a.headers.clear();
                        a.repeats = true;
                    }),
                    Code::kPeer, "ignores Range"});
    days.push_back({"AnswersWithAnotherRange", to_packs([](Answer& a) {
                        a.headers["Content-Range"] =
                            "bytes 0-9/" +
                            a.headers["Content-Range"].substr(a.headers["Content-Range"].find('/') + 1);
                    }),
                    Code::kPeer, "another part"});
    for (const char* range : {"", "bytes", "bytes 5-1/9", "bytes 0-18446744073709551615/9", "bytes 1-2/3 4",
                              "bytes -1-2/3", "chunks 0-1/2", "bytes 99999999999999999999-1/2"})
        days.push_back({"SaysNonsenseOfTheRange",
                        to_packs([range](Answer& a) { a.headers["Content-Range"] = range; }), Code::kPeer,
                        "another part"});
    days.push_back({"SendsSeveralPartsInOne", to_packs([](Answer& a) {
                        a.headers.erase("Content-Range");
                        a.headers["Content-Type"] = "multipart/byteranges; boundary=x";
                    }),
                    Code::kPeer, "another part"});
    days.push_back({"ChangesTheTag",
                    [](const Request& r, Answer& a) { a.headers["ETag"] = fmt::format("\"{}\"", r.number); },
                    Code::kPeer, "changed while it was read"});
    days.push_back({"ChangesTheTime",
                    [](const Request& r, Answer& a) {
                        a.headers.erase("ETag");
                        a.headers["Last-Modified"] = r.method;
                    },
                    Code::kPeer, "changed while it was read"});
    days.push_back({"ChangesTheSize",
                    [](const Request& r, Answer& a) {
                        if (r.path != "/images/web/1.places" || r.number == 1) return;
                        std::string& range = a.headers["Content-Range"];
                        range = range.substr(0, range.find('/')) + "/999999";
                    },
                    Code::kPeer, "changed while it was read"});
    days.push_back({"PromisesAGiganticIndex",
                    [](const Request& r, Answer& a) {
                        if (r.method == "HEAD") a.headers["Content-Length"] = "9000000000000000000";
                    },
                    Code::kIntegrity, "too large"});
    days.push_back({"SpeaksAnotherLanguage", to_all([](Answer& a) { a.raw = "SSH-2.0-OpenSSH_9.2\r\n"; }),
                    Code::kPeer, ""});
    days.push_back({"SendsOnInCircles", [](const Request& r, Answer& a) { sends_on(a, r.path); }, Code::kPeer,
                    "one place after another"});
    for (const char* place : {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/_x",
                              "dict://127.0.0.1/x", "javascript:1", ""})
        days.push_back(
            {"SendsOnToADangerousPlace", to_packs([place](Answer& a) { sends_on(a, place); }), Code::kPeer});
    days.push_back({"Compresses", to_packs([](Answer& a) { a.headers["Content-Encoding"] = "gzip"; }),
                    Code::kPeer, "compresses"});
    days.push_back({"WantsAPassword", to_all([](Answer& a) { is_status(a, "401 Unauthorized"); }),
                    Code::kPeer, "status 401"});
    days.push_back(
        {"Forbids", to_packs([](Answer& a) { is_status(a, "403 Forbidden"); }), Code::kPeer, "status 403"});
    days.push_back({"LostAPack", to_packs([](Answer& a) { is_status(a, "404 Not Found"); }), Code::kIntegrity,
                    "missing"});
    days.push_back({"CutAPackOff", to_packs([](Answer& a) {
                        is_status(a, "416 Range Not Satisfiable");
                        a.headers["Content-Range"] = "bytes */100";
                    }),
                    Code::kIntegrity, "cut off at byte 100"});
    days.push_back({"HasNoStore", to_all([](Answer& a) { is_status(a, "404 Not Found"); }), Code::kRefused,
                    "no store of images"});
    days.push_back({"ChangesABit", to_packs([](Answer& a) {
                        if (!a.body.empty()) a.body[a.body.size() / 2] ^= 4;
                    }),
                    Code::kIntegrity, "damaged"});
    days.push_back({"SendsZeros", to_packs([](Answer& a) { a.body.assign(a.body.size(), '\0'); }),
                    Code::kIntegrity, "damaged"});
    days.push_back({"ChangesTheLists",
                    [](const Request& r, Answer& a) {
                        if (r.path.ends_with(".lists") && !a.body.empty()) a.body[0] ^= 1;
                    },
                    Code::kIntegrity});
    return days;
}

class OnABadDay : public testing::TestWithParam<BadDay> {};

TEST_P(OnABadDay, TheRightBytesComeOrOneClearLine) {
    const BadDay& day = GetParam();
    const test::ScratchFolder scratch;
    const std::string store = scratch.file("store");
    const Bytes disk = test::small_disk(1);
    test::capture_small_disk(store, disk);
    const WebServer server(store, day.change);
    WebOptions options;
    options.patience = day.code ? 400ms : 30s;
    options.stall = std::chrono::seconds(1);
    const auto begin = std::chrono::steady_clock::now();
    const auto read = [&] {
        const OpenImage open = open_image(*parse_reference(server.address() + "#web"), {}, options);
        return test::read_as_a_copy(*open.reader);
    };
    if (!day.code) {
        EXPECT_EQ(read(), disk);
    } else {
        try {
            read();
            ADD_FAILURE() << "it was read";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), *day.code) << e.what();
            EXPECT_THAT(e.what(), testing::HasSubstr(day.says));
            EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
        }
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
}

INSTANTIATE_TEST_SUITE_P(Web, OnABadDay, testing::ValuesIn(bad_days()), [](const auto& tested) {
    return fmt::format("{}{}", tested.param.name, tested.index);
});

}  // namespace
}  // namespace dupengine::image

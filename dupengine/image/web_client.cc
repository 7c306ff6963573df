#include "image/web_client.h"

#include <curl/curl.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/copy_bytes.h"
#include "base/fd.h"

namespace dupengine::image {
namespace {

using Outcome = WebReply::Outcome;

// Of the head of an answer, and of a body that nobody wants.
constexpr std::size_t kMostUnasked = 64 * kKiB;
constexpr unsigned kMostRedirections = 5;

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
    if (curl_easy_setopt(easy, option, value) != CURLE_OK)
        throw_error(Code::kInternal, "libcurl does not take option {}", static_cast<int>(option));
}

long status_of(CURL* easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

std::string header_of(CURL* easy, const char* name) {
    // What is kept of a file is small, whatever a server says of it.
    constexpr std::size_t kMost = 256;
    curl_header* header = nullptr;
    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return "";
    return std::string(header->value).substr(0, kMost);
}

bool take_number(std::string_view& text, std::uint64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

// Content-Range (RFC 9110, 14.4): "bytes 0-99/1000", "bytes 0-99/*", "bytes */1000".
struct ContentRange {
    std::optional<std::uint64_t> begin, end, size;
};

std::optional<ContentRange> parse_content_range(std::string_view text) {
    ContentRange range;
    std::uint64_t first = 0, last = 0, size = 0;
    const auto skip = [&](std::string_view expected) {
        if (!text.starts_with(expected)) return false;
        text.remove_prefix(expected.size());
        return true;
    };
    if (!skip("bytes ")) return std::nullopt;
    if (!skip("*")) {
        if (!take_number(text, first) || !skip("-") || !take_number(text, last) || last < first ||
            last == ~std::uint64_t{0})
            return std::nullopt;
        range.begin = first;
        range.end = last + 1;
    }
    if (!skip("/")) return std::nullopt;
    if (skip("*")) return text.empty() ? std::optional(range) : std::nullopt;
    if (!take_number(text, size) || !text.empty()) return std::nullopt;
    range.size = size;
    return range;
}

bool may_pass(long status) {
    return status == 408 || status == 425 || status == 429 ||
           (status >= 500 && status != 501 && status != 505);
}

bool is_redirection(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Failures below HTTP that another try does not change.
bool is_final(CURLcode result) {
    switch (result) {
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_URL_MALFORMAT:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_OUT_OF_MEMORY:
        case CURLE_SSL_CIPHER:
        case CURLE_BAD_FUNCTION_ARGUMENT:
        case CURLE_SSL_CERTPROBLEM:
            return true;
        default:
            return false;
    }
}

}  // namespace

bool FileState::agrees_with(const FileState& other) const {
    const auto agree = [](const std::string& a, const std::string& b) {
        return a.empty() || b.empty() || a == b;
    };
    if (size && other.size && *size != *other.size) return false;
    if (!tag.empty() && !other.tag.empty()) return tag == other.tag;
    return agree(modified, other.modified);
}

struct WebClient::Handle {
    CURLM* connections = curl_multi_init();  // keeps the one that is open
    CURL* easy = curl_easy_init();
    std::array<char, CURL_ERROR_SIZE> error{};
    curl_slist* json_headers = curl_slist_append(nullptr, "Content-Type: application/json");

    Handle() {
        if (easy == nullptr || connections == nullptr || json_headers == nullptr)
            throw_error(Code::kInternal, "libcurl cannot be used");
    }
    ~Handle() {
        curl_slist_free_all(json_headers);
        curl_easy_cleanup(easy);
        curl_multi_cleanup(connections);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
};

// What is asked for, and how far the answer is.
struct WebClient::Transfer {
    CURL* easy = nullptr;
    bool only_head = false;
    ByteOffset offset = 0;
    std::span<std::byte> buffer;
    const std::string* json = nullptr;  // is sent

    std::size_t head_bytes = 0;
    std::optional<bool> is_wanted;  // the body
    std::size_t taken = 0, unasked = 0;
    bool is_too_much = false;  // we ended it

    void begin(CURL* handle) {
        *this = {handle, only_head, offset, buffer, json, 0, {}, 0, 0, false};
        using OnData = std::size_t (*)(char*, std::size_t, std::size_t, void*);
        const OnData take_head = [](char*, std::size_t, std::size_t bytes, void* to) {
            return static_cast<Transfer*>(to)->on_head(bytes);
        };
        const OnData take_body = [](char* data, std::size_t, std::size_t bytes, void* to) {
            return static_cast<Transfer*>(to)->on_body(data, bytes);
        };
        set(easy, CURLOPT_HEADERFUNCTION, take_head);
        set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
        set(easy, CURLOPT_WRITEFUNCTION, take_body);
        set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
    }

    bool is_compressed() const {
        const std::string encoding = header_of(easy, "Content-Encoding");
        return !encoding.empty() && encoding != "identity";
    }

    std::optional<std::uint64_t> length() const {
        curl_off_t length = -1;
        curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        return length < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(length));
    }

    // By its head: is it just what was asked for?
    bool is_what_was_asked() const {
        if (only_head || json != nullptr || is_compressed()) return false;
        if (status_of(easy) == 200) return offset == 0 && length() == buffer.size();
        if (status_of(easy) != 206) return false;
        const auto range = parse_content_range(header_of(easy, "Content-Range"));
        return range && range->begin == offset && range->end == offset + buffer.size();
    }

    FileState state() const {
        FileState state;
        state.tag = header_of(easy, "ETag");
        if (state.tag.starts_with("W/")) state.tag.erase(0, 2);
        state.modified = header_of(easy, "Last-Modified");
        if (const auto range = parse_content_range(header_of(easy, "Content-Range")))
            state.size = range->size;
        else if (status_of(easy) == 200 && !is_compressed())
            state.size = length();
        return state;
    }

    bool is_good(long status) const {
        return json == nullptr ? status == 200 || status == 206 : status / 100 == 2;
    }

    // What it came to, as far as another try or another question could tell. kDone means here: a whole answer
    // with a good status.
    WebReply reply(CURLcode result, const std::string& place, const std::string& reason) const {
        const long status = status_of(easy);
        WebReply reply;
        reply.was_answered = status != 0;
        if (status == 404 || status == 410) {
            reply.outcome = Outcome::kMissing;
        } else if (may_pass(status)) {
            curl_off_t wait = 0;
            curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &wait);
            reply.outcome = Outcome::kMayPass;
            reply.why = fmt::format("the server answers with status {}", status);
            constexpr curl_off_t kYear = curl_off_t{365} * 86400;
            if (wait > 0) reply.wait = std::chrono::seconds(std::min(wait, kYear));
        } else if (status == 416 && !only_head) {
            reply.outcome = Outcome::kTooShort;
            reply.state = this->state();
        } else if (!is_good(status) && status != 0) {
            // What a server does not tell by HEAD it may tell by GET.
            if (!only_head)
                throw_error(Code::kPeer, "{}: the server answers with status {}{}", place, status,
                            status != 401 && status != 403 ? ""
                            : json == nullptr              ? ": it does not give it to us"
                                                           : ": it does not take it from us");
            reply.outcome = Outcome::kWhole;
        } else if (is_final(result)) {
            throw_error(Code::kPeer, "{}: that is no web server: {}", place, reason);
        } else if (result != CURLE_OK && result != CURLE_WRITE_ERROR) {
            reply.outcome = Outcome::kMayPass;
            reply.why = reason;
        } else {
            reply.state = this->state();
        }
        return reply;
    }

    std::size_t on_head(std::size_t bytes) {
        head_bytes += bytes;
        is_too_much = head_bytes > kMostUnasked;
        return is_too_much ? 0 : bytes;
    }

    std::size_t on_body(const char* data, std::size_t bytes) {
        if (!is_wanted) is_wanted = is_what_was_asked();
        if (!*is_wanted) {
            unasked += bytes;
            return unasked > kMostUnasked ? 0 : bytes;
        }
        is_too_much = bytes > buffer.size() - taken;
        if (is_too_much) return 0;
        copy_bytes(as_bytes({data, bytes}), std::span(buffer).subspan(taken));
        taken += bytes;
        return bytes;
    }
};

WebClient::WebClient(WebOptions options, std::function<bool()> is_stopped)
    : handle_(std::make_unique<Handle>()), options_(std::move(options)), is_stopped_(std::move(is_stopped)) {
    if (!options_.ca_file.empty()) open_path(options_.ca_file, O_RDONLY, Code::kUsage);
}

WebClient::~WebClient() = default;

// One request, and its answer. Options do not last: the next one begins anew on the same connection.
int WebClient::perform(const WebAddress& file, Transfer& transfer) {
    CURL* easy = handle_->easy;
    curl_easy_reset(easy);
    handle_->error[0] = '\0';
    set(easy, CURLOPT_ERRORBUFFER, handle_->error.data());
    set(easy, CURLOPT_NOSIGNAL, 1L);
    set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set(easy, CURLOPT_URL, file.url().c_str());
    set(easy, CURLOPT_USERAGENT, "dupengine");
    set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
    set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    const auto stall = static_cast<long>(options_.stall.count());
    set(easy, CURLOPT_CONNECTTIMEOUT, stall);
    set(easy, CURLOPT_LOW_SPEED_TIME, stall);
    set(easy, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    if (!options_.ca_file.empty()) {
        set(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
        set(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    }
    if (!file.user().empty() || !file.password().empty()) {
        set(easy, CURLOPT_USERNAME, file.user().c_str());
        set(easy, CURLOPT_PASSWORD, file.password().c_str());
    }
    if (transfer.only_head) {
        set(easy, CURLOPT_NOBODY, 1L);
    } else if (transfer.json != nullptr) {
        set(easy, CURLOPT_CUSTOMREQUEST, "PUT");
        set(easy, CURLOPT_HTTPHEADER, handle_->json_headers);
        set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.json->size()));
        set(easy, CURLOPT_POSTFIELDS, transfer.json->c_str());
    } else {
        const auto last = transfer.offset + transfer.buffer.size() - 1;
        set(easy, CURLOPT_RANGE, fmt::format("{}-{}", transfer.offset, last).c_str());
    }
    transfer.begin(easy);
    return run();
}

// As curl_easy_perform, but whoever is stopped does not wait.
int WebClient::run() {
    CURLM* connections = handle_->connections;
    if (curl_multi_add_handle(connections, handle_->easy) != CURLM_OK)
        throw_error(Code::kInternal, "libcurl takes no transfer");
    int running = 1;
    auto state = CURLM_OK;
    while (state == CURLM_OK && !is_stopped_()) {
        state = curl_multi_perform(connections, &running);
        if (running == 0) break;
        constexpr int kMilliseconds = 50;
        if (state == CURLM_OK) state = curl_multi_poll(connections, nullptr, 0, kMilliseconds, nullptr);
    }
    auto result = CURLE_ABORTED_BY_CALLBACK;
    int left = 0;
    if (const CURLMsg* message = curl_multi_info_read(connections, &left);
        message != nullptr && message->msg == CURLMSG_DONE)
        result = message->data.result;
    curl_multi_remove_handle(connections, handle_->easy);
    return result;
}

// Follows redirections.
WebReply WebClient::ask(const WebAddress& file, Transfer& transfer) {
    WebAddress at = file;
    auto result = CURLE_OK;
    for (unsigned hop = 0;; ++hop) {
        result = static_cast<CURLcode>(perform(at, transfer));
        if (!is_redirection(status_of(transfer.easy)) || transfer.is_too_much || is_stopped_()) break;
        char* location = nullptr;
        curl_easy_getinfo(transfer.easy, CURLINFO_REDIRECT_URL, &location);
        const auto next = at.redirected(location == nullptr ? "" : location);
        if (!next || hop == kMostRedirections)
            throw_error(Code::kPeer, "{}: the server sends on to {}", file.shown(),
                        next ? "one place after another" : "a place that is not safe to follow to");
        at = *next;
    }
    if (is_stopped_()) throw_error(Code::kInterrupted, "stopped on request while {} was read", file.shown());
    if (transfer.is_too_much)
        throw_error(Code::kPeer, "{}: the server sends more than it was asked for", file.shown());
    const std::string reason = handle_->error[0] == '\0' ? curl_easy_strerror(result) : handle_->error.data();
    if (result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE)
        throw_error(Code::kAuthenticity,
                    "{}: the server's certificate does not hold: {} (--ca-file names "
                    "those to trust)",
                    at.shown(), reason);
    return transfer.reply(result, at.shown(), reason);
}

WebReply WebClient::read(const WebAddress& file, ByteOffset offset, std::span<std::byte> buffer) {
    Transfer transfer;
    transfer.offset = offset;
    transfer.buffer = buffer;
    WebReply reply = ask(file, transfer);
    if (reply.outcome != Outcome::kDone) return reply;
    if (!transfer.is_wanted.value_or(transfer.is_what_was_asked())) {
        reply.outcome = Outcome::kWhole;
        reply.why = transfer.is_compressed()
                        ? "the server compresses what it sends; images need the bytes as they are"
                    : status_of(transfer.easy) == 200
                        ? "the server does not give parts of files (it ignores Range); use another one, or a "
                          "copy of the folder"
                        : "the server answers with another part of the file than it was asked for";
    } else if (transfer.taken != buffer.size()) {
        reply.outcome = Outcome::kMayPass;
        reply.why = fmt::format("the server sends {} of {} bytes", transfer.taken, buffer.size());
    }
    return reply;
}

WebReply WebClient::put(const WebAddress& file, const std::string& json) {
    Transfer transfer;
    transfer.json = &json;
    return ask(file, transfer);
}

WebReply WebClient::look(const WebAddress& file) {
    Transfer head;
    head.only_head = true;
    WebReply reply = ask(file, head);
    if (reply.outcome == Outcome::kMissing || reply.outcome == Outcome::kMayPass ||
        (reply.outcome == Outcome::kDone && reply.state.size))
        return reply;
    std::array<std::byte, 1> first{};
    reply = read(file, 0, first);
    if (reply.outcome == Outcome::kMissing || reply.outcome == Outcome::kMayPass) return reply;
    if (!reply.state.size)
        throw_error(Code::kPeer, "{}: the server does not say how large it is", file.shown());
    reply.outcome = Outcome::kDone;
    return reply;
}

}  // namespace dupengine::image

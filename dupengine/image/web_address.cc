#include "image/web_address.h"

#include <curl/curl.h>
#include <strings.h>

#include <memory>

#include "base/error.h"

namespace dupengine::image {
namespace {

struct FreeUrl {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

constexpr unsigned kAsGiven = CURLU_URLENCODE | CURLU_ALLOW_SPACE;

Url parse(const std::string& text) {
    Url url(curl_url());
    if (!url) throw_error(Code::kInternal, "no memory for an address");
    const CURLUcode result = curl_url_set(url.get(), CURLUPART_URL, text.c_str(), kAsGiven);
    if (result != CURLUE_OK || text.find('\0') != std::string::npos)
        throw_error(Code::kUsage, "that is no address of a web server ({}): https://HOST/PATH#NAME",
                    result == CURLUE_OK ? "it has a zero byte" : curl_url_strerror(result));
    return url;
}

std::string part_of(const Url& url, CURLUPart part, unsigned flags = 0) {
    char* text = nullptr;
    if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return "";
    std::string result = text;
    curl_free(text);
    return result;
}

void set_part(const Url& url, CURLUPart part, const char* text, unsigned flags = 0) {
    if (curl_url_set(url.get(), part, text, flags) != CURLUE_OK)
        throw_error(Code::kUsage, "that is no address of a web server: https://HOST/PATH#NAME");
}

}  // namespace

bool is_web_address(std::string_view text) {
    return strncasecmp(text.data(), "http://", std::min<std::size_t>(text.size(), 7)) == 0
               ? text.size() >= 7
               : text.size() >= 8 && strncasecmp(text.data(), "https://", 8) == 0;
}

WebAddress::WebAddress(const std::string& text) {
    const Url url = parse(text);
    const std::string scheme = part_of(url, CURLUPART_SCHEME);
    if (scheme != "http" && scheme != "https")
        throw_error(Code::kUsage, "images are read from http:// and https:// only");
    if (!part_of(url, CURLUPART_FRAGMENT).empty())
        throw_error(Code::kUsage, "a '#' in the path of a web server is written %23");
    is_encrypted_ = scheme == "https";
    server_ = scheme + "://" + part_of(url, CURLUPART_HOST) + ":" +
              part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    user_ = part_of(url, CURLUPART_USER, CURLU_URLDECODE);
    password_ = part_of(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    set_part(url, CURLUPART_USER, nullptr);
    set_part(url, CURLUPART_PASSWORD, nullptr);
    url_ = part_of(url, CURLUPART_URL);
    set_part(url, CURLUPART_QUERY, nullptr);
    shown_ = part_of(url, CURLUPART_URL);
    while (shown_.ends_with('/'))
        shown_.pop_back();
}

WebAddress WebAddress::below(std::string_view file) const {
    const Url url = parse(url_);
    std::string path = part_of(url, CURLUPART_PATH);
    while (path.ends_with('/'))
        path.pop_back();
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    path += '/';
    for (const char c : file)
        path += kPlain.find(c) != std::string_view::npos
                    ? std::string(1, c)
                    : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    set_part(url, CURLUPART_PATH, path.c_str());
    WebAddress address = *this;
    address.url_ = part_of(url, CURLUPART_URL);
    address.shown_ = shown_ + "/" + std::string(file);
    return address;
}

std::optional<WebAddress> WebAddress::redirected(const std::string& location) const {
    if (!is_web_address(location)) return std::nullopt;
    WebAddress next;
    try {
        next = WebAddress(location.substr(0, location.find('#')));
    } catch (const Error&) {
        return std::nullopt;
    }
    if (is_encrypted_ && !next.is_encrypted_) return std::nullopt;
    const bool is_same_server = next.server_ == server_;
    next.user_ = is_same_server ? user_ : "";
    next.password_ = is_same_server ? password_ : "";
    return next;
}

}  // namespace dupengine::image

#include "efi/core/web.h"

namespace dupengine::efi {
namespace {

constexpr TextView kScheme = "http://";

bool is_host_character(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-';
}

bool is_port(TextView text) {
    std::uint32_t port = 0;
    for (char c : text) {
        if (c < '0' || c > '9' || port > 65535) return false;
        port = port * 10 + static_cast<std::uint32_t>(c - '0');
    }
    return port > 0 && port <= 65535;
}

char small(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

bool is_web_address(TextView text) {
    return text.starts_with(kScheme) || text.starts_with("https://");
}

TextView read_web_address(TextView text, WebAddress& into) {
    into.authority.clear();
    if (!text.starts_with(kScheme)) return "only http:// is fetched here";
    const TextView rest = text.after(kScheme.size());
    std::size_t host = 0;
    while (host < rest.size() && is_host_character(rest[host]))
        ++host;
    if (host == 0) return "its address names no host";
    std::size_t end = host;
    if (end < rest.size() && rest[end] == ':') {
        while (end < rest.size() && rest[end] != '/')
            ++end;
        if (!is_port(rest.first(end).after(host + 1))) return "its address has a port that is none";
    }
    // Also who would hand over a password stops here.
    if (end + 1 >= rest.size() || rest[end] != '/') return "its address names no file";
    for (char c : rest.after(end))
        if (c <= ' ' || c > '~' || c == '#') return "its address has a character that addresses have not";
    into.authority.add(rest.first(end));
    return into.authority.cut() ? TextView("its address is too long") : TextView();
}

bool is_content_length(TextView name) {
    constexpr TextView kName = "content-length";
    if (name.size() != kName.size()) return false;
    for (std::size_t i = 0; i < name.size(); ++i)
        if (small(name[i]) != kName[i]) return false;
    return true;
}

std::optional<std::uint64_t> read_content_length(TextView value) {
    constexpr std::uint64_t kTooLarge = std::uint64_t{1} << 40;
    if (value.empty()) return std::nullopt;
    std::uint64_t length = 0;
    for (char c : value) {
        if (c < '0' || c > '9' || length > kTooLarge) return std::nullopt;
        length = length * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return length;
}

WebAnswer answer_of(std::uint32_t status_code) {
    // UEFI 2.10, 29.6.6: an enumeration, not the numbers of HTTP.
    constexpr std::uint32_t kOk = 3, k400 = 17, k401 = 18, k403 = 20, k404 = 21, k408 = 25, k500 = 35;
    if (status_code == kOk) return {};
    if (status_code == k404) return {"the web server does not have it"};
    if (status_code == k401 || status_code == k403) return {"the web server does not give it out"};
    if (status_code >= k500 || status_code == k408) return {"the web server has a trouble of its own", true};
    if (status_code >= k400) return {"the web server does not understand what is wanted"};
    return {"the web server answers with something else than the file"};
}

WebAnswer answer_of_part(std::uint32_t status_code) {
    constexpr std::uint32_t kOk = 3, kPartialContent = 9;
    if (status_code == kPartialContent) return {};
    if (status_code == kOk) return {"the web server does not give parts of files (Range)"};
    return answer_of(status_code);
}

Text<64> range_of(std::uint64_t offset, std::uint64_t bytes) {
    Text<64> range;
    range.add("bytes=").number(offset).add('-').number(offset + bytes - 1);
    return range;
}

Buffer WebBody::room(std::size_t most) const {
    const std::size_t left = whole_.size() - filled_;
    return whole_.subspan(filled_, left < most ? left : most);
}

TextView WebBody::filled(std::uint64_t bytes) {
    if (bytes == 0) return "the web server stopped half-way";
    if (bytes > whole_.size() - filled_) return "the web server sent more than it said";
    filled_ += bytes;
    return {};
}

}  // namespace dupengine::efi

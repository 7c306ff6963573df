#pragma once
// An address of a web server (RFC 3986, http and https only), taken apart by libcurl. What is shown of it has
// neither user and password nor the query, because these may be secrets. Pure; a value.

#include <optional>
#include <string>
#include <string_view>

namespace dupengine::image {

/// Whether it begins with "http://" or "https://", in any case.
bool is_web_address(std::string_view text);

class WebAddress {
  public:
    /// Spaces and what is not ASCII may stand as they are. Throws kUsage, without repeating `text`, for
    /// anything but http and https, and for one with a fragment ('#').
    explicit WebAddress(const std::string& text);

    /// Of a file below this one, the query behind it.
    WebAddress below(std::string_view file) const;
    /// Where an answer with this Location (absolute by now) sends to. Empty if that is no web address, or
    /// leaves https. User and password go along to the same server only, and none are taken from there.
    std::optional<WebAddress> redirected(const std::string& location) const;

    /// Without user and password.
    const std::string& url() const { return url_; }
    /// For people: "https://example.org/images".
    const std::string& shown() const { return shown_; }
    const std::string& user() const { return user_; }
    const std::string& password() const { return password_; }

  private:
    WebAddress() = default;
    std::string url_, shown_, user_, password_;
    std::string server_;  // scheme, host and port
    bool is_encrypted_ = false;
};

}  // namespace dupengine::image

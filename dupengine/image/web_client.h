#pragma once
// One HTTP connection (libcurl): asks for a file, or for a part of one, and looks at the head of the answer
// before a byte of it is taken. It sends GET, HEAD and PUT and nothing else, follows redirections to web
// servers only, never from https to http, and holds nothing but the buffer that it is given. What a server
// says costs at most 64 KiB more, and WebOptions::stall of silence. It never tries again. One thread at a
// time.

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "image/web_address.h"
#include "image/web_options.h"

namespace dupengine::image {

/// What shows that a file is the one that was seen before.
struct FileState {
    std::optional<std::uint64_t> size;
    std::string tag;       ///< ETag (RFC 9110, 8.8.3), without "W/"
    std::string modified;  ///< Last-Modified
    /// Where both know something it is the same.
    bool agrees_with(const FileState& other) const;
};

struct WebReply {
    enum class Outcome {
        kDone,
        kMissing,   ///< there is no such file
        kWhole,     ///< the server would send the whole file where a part was asked for; nothing was taken
        kTooShort,  ///< the file ends before the part; nothing was taken
        kMayPass    ///< asked again, it may be better
    };
    Outcome outcome = Outcome::kDone;
    FileState state;
    std::string why;                           ///< of kMayPass
    std::optional<std::chrono::seconds> wait;  ///< when the server wants to be asked again
    bool was_answered = false;                 ///< by a web server
};

class WebClient {
  public:
    /// `is_stopped` is asked now and then. Throws kUsage if the ca_file cannot be read.
    WebClient(WebOptions options, std::function<bool()> is_stopped);
    ~WebClient();
    WebClient(const WebClient&) = delete;
    WebClient& operator=(const WebClient&) = delete;

    /// How large a file is: kDone with a size, kMissing or kMayPass. Throws kPeer, kAuthenticity if the
    /// server's certificate does not hold, kInterrupted.
    WebReply look(const WebAddress& file);
    /// All of `buffer`, which is not empty, from `offset`. Throws as look().
    WebReply read(const WebAddress& file, ByteOffset offset, std::span<std::byte> buffer);
    /// Puts a JSON document there, in place of what is there. kDone, kMissing (there is no place for it) or
    /// kMayPass. Throws as look().
    WebReply put(const WebAddress& file, const std::string& json);

  private:
    struct Handle;
    struct Transfer;
    WebReply ask(const WebAddress& file, Transfer& transfer);
    int perform(const WebAddress& file, Transfer& transfer);
    int run();

    std::unique_ptr<Handle> handle_;
    WebOptions options_;
    std::function<bool()> is_stopped_;
};

}  // namespace dupengine::image

#include "image/web_server.h"

#include <algorithm>
#include <thread>

namespace dupengine::image {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = WebReply::Outcome;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{250}, kLongestPause{15'000};
// A server that never answered has a wrong name rather than a bad day.
constexpr unsigned kTriesOfAStranger = 3;
// Some fifty thousand usual files; the server chooses how much it says of each. What is forgotten is not
// compared.
constexpr std::size_t kMostSeenBytes = 16 * kMiB;

// About what it takes in memory.
std::size_t size_of(const std::string& file, const FileState& state) {
    return sizeof(FileState) + 96 + file.capacity() + state.tag.capacity() + state.modified.capacity();
}

}  // namespace

void WebServer::set_stop(std::stop_token stop) {
    const std::scoped_lock lock(mutex_);
    stop_ = std::move(stop);
}

bool WebServer::is_stopped() const {
    if (is_ending_) return true;
    const std::scoped_lock lock(mutex_);
    return stop_.stop_requested();
}

// After `tries`. Throws if it is not worth another one.
void WebServer::pause(const WebAddress& file, const WebReply& reply, unsigned tries,
                      Clock::time_point begin) const {
    const milliseconds growing = std::min(kLongestPause, kFirstPause * (1u << std::min(tries - 1, 10u)));
    const milliseconds wanted = reply.wait ? std::max<milliseconds>(*reply.wait, growing) : growing;
    const auto past = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
    const bool is_stranger = !was_answered_ && tries >= kTriesOfAStranger;
    if (is_stranger || wanted > options_.patience - std::min(past, options_.patience))
        throw_error(Code::kPeer, "{}: {} ({} {}{}); run the same command again to go on", file.shown(),
                    reply.why, tries, tries == 1 ? "try" : "tries",
                    reply.wait ? fmt::format(", and wants {} s until the next", reply.wait->count()) : "");
    for (const auto end = Clock::now() + wanted; Clock::now() < end && !is_stopped();)
        std::this_thread::sleep_for(std::min<Clock::duration>(milliseconds(50), end - Clock::now()));
}

template <typename Ask>
WebReply WebServer::try_until_answered(const WebAddress& file, const Ask& ask) {
    const auto begin = Clock::now();
    for (unsigned tries = 1;; ++tries) {
        WebReply reply = ask();
        was_answered_ = was_answered_ || reply.was_answered;
        if (reply.outcome != Outcome::kMayPass) return reply;
        pause(file, reply, tries, begin);
    }
}

void WebServer::hold_against_what_was_seen(const std::string& file, const FileState& state) {
    const std::scoped_lock lock(mutex_);
    const auto [at, is_new] = seen_.try_emplace(file, state);
    if (is_new) {
        seen_bytes_ += size_of(file, state);
        if (seen_bytes_ <= kMostSeenBytes) return;
        seen_bytes_ = 0;
        seen_.clear();
        return;
    }
    if (!at->second.agrees_with(state))
        throw_error(Code::kPeer, "{}: changed while it was read; run the same command again",
                    folder_.below(file).shown());
    if (!at->second.size) at->second.size = state.size;
}

std::optional<std::uint64_t> WebServer::known_size(const std::string& file) const {
    const std::scoped_lock lock(mutex_);
    const auto at = seen_.find(file);
    return at == seen_.end() ? std::nullopt : at->second.size;
}

std::optional<std::uint64_t> WebServer::look(WebClient& client, const std::string& file) {
    if (const auto size = known_size(file)) return size;
    const WebAddress address = folder_.below(file);
    const WebReply reply = try_until_answered(address, [&] { return client.look(address); });
    if (reply.outcome == Outcome::kMissing) return std::nullopt;
    hold_against_what_was_seen(file, reply.state);
    return reply.state.size;
}

void WebServer::put(WebClient& client, const std::string& file, const std::string& json) {
    const WebAddress address = folder_.below(file);
    const WebReply reply = try_until_answered(address, [&] { return client.put(address, json); });
    if (reply.outcome == Outcome::kMissing)
        throw_error(Code::kPeer, "{}: the server has no place for it", address.shown());
}

void WebServer::read(WebClient& client, const std::string& file, ByteOffset offset,
                     std::span<std::byte> buffer) {
    const WebAddress address = folder_.below(file);
    const auto cut_off = [&](std::optional<std::uint64_t> size) {
        throw_error(Code::kIntegrity, "{} is cut off at byte {}", address.shown(), size.value_or(offset));
    };
    const auto known = known_size(file);
    if (known && (*known < offset || *known - offset < buffer.size())) cut_off(known);
    if (buffer.empty()) return;
    const WebReply reply = try_until_answered(address, [&] { return client.read(address, offset, buffer); });
    if (reply.outcome == Outcome::kMissing) throw_error(Code::kIntegrity, "{}: {} is missing", name(), file);
    hold_against_what_was_seen(file, reply.state);
    if (reply.outcome == Outcome::kTooShort) cut_off(reply.state.size);
    if (reply.outcome == Outcome::kWhole) {
        // It may be that it became shorter since it was asked for.
        const auto size = reply.state.size;
        if (size && (*size < offset || *size - offset < buffer.size())) cut_off(size);
        throw_error(Code::kPeer, "{}: {}", address.shown(), reply.why);
    }
}

}  // namespace dupengine::image

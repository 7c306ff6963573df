#include "image/foreign/nbd_connection.h"

#include <libnbd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace dupengine::image {
namespace {

using block::Extent;

std::string reason() {
    const char* text = ::nbd_get_error();
    return text != nullptr ? text : "?";
}

// Pairs of length and flags.
int take_extents(void* user, const char* context, std::uint64_t offset, std::uint32_t* entries,
                 std::size_t count, int*) {
    auto& map = *static_cast<NbdConnection::Map*>(user);
    if (std::string_view(context) != LIBNBD_CONTEXT_BASE_ALLOCATION) return 0;
    for (std::size_t i = 0; i + 1 < count; i += 2) {
        const Extent extent{offset, offset + entries[i]};
        offset = extent.end;
        map.known.end = std::max(map.known.end, extent.end);
        if (extent.empty() || (entries[i + 1] & LIBNBD_STATE_ZERO) != 0) continue;
        if (!map.data.empty() && map.data.back().end == extent.begin)
            map.data.back().end = extent.end;
        else
            map.data.push_back(extent);
    }
    return 0;
}

}  // namespace

NbdConnection::NbdConnection(const std::string& socket, std::string name, const Patience& patience)
    : name_(std::move(name)), handle_(::nbd_create()) {
    if (handle_ == nullptr) throw_error(Code::kInternal, "libnbd: {}", reason());
    try {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (socket.size() >= sizeof address.sun_path) fail("the socket", "its path is too long");
        socket.copy(address.sun_path, socket.size());
        if (::nbd_add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0 ||
            ::nbd_aio_connect(handle_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            fail("connecting to qemu-nbd", reason());
        wait([this] { return ::nbd_aio_is_connecting(handle_) == 0; }, patience);
        if (::nbd_aio_is_ready(handle_) != 1) fail("connecting to qemu-nbd", reason());
    } catch (...) {
        close();
        throw;
    }
}

NbdConnection::~NbdConnection() {
    close();
}

void NbdConnection::close() {
    if (handle_ != nullptr) ::nbd_close(std::exchange(handle_, nullptr));
}

::nbd_handle* NbdConnection::handle() const {
    if (handle_ == nullptr) throw_error(Code::kSourceIo, "{}: qemu-nbd does not answer any more", name_);
    return handle_;
}

void NbdConnection::fail(const std::string& what, const std::string& why) {
    throw_error(Code::kSourceIo, "{}: {} failed: {}", name_, what, why);
}

void NbdConnection::wait(const std::function<bool()>& done, const Patience& patience) {
    constexpr int kLookAgainMs = 200;  // at whether to go on
    const auto until = std::chrono::steady_clock::now() + patience.deadline;
    while (!done()) {
        if (patience.ended()) {
            close();
            throw_error(Code::kInterrupted, "{}: reading was stopped on request", name_);
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            close();
            throw_error(Code::kSourceIo, "{}: qemu-nbd gave no answer in {} s", name_,
                        patience.deadline.count() / 1000);
        }
        if (::nbd_poll(handle_, static_cast<int>(std::min<long>(left.count(), kLookAgainMs))) < 0) {
            const std::string why = reason();
            close();
            fail("talking to qemu-nbd", why);
        }
    }
}

void NbdConnection::finish(std::int64_t command, const char* what, const Patience& patience) {
    if (command < 0) fail(what, reason());
    int status = 0;
    wait(
        [&] {
            status = ::nbd_aio_command_completed(handle_, static_cast<std::uint64_t>(command));
            return status != 0;
        },
        patience);
    if (status < 0) fail(what, reason());
}

std::uint64_t NbdConnection::size_bytes() const {
    const std::int64_t size = ::nbd_get_size(handle());
    if (size <= 0) throw_error(Code::kSourceIo, "{}: tells no size: {}", name_, reason());
    return static_cast<std::uint64_t>(size);
}

void NbdConnection::read(ByteOffset offset, std::span<std::byte> buffer, const Patience& patience) {
    const std::string what = fmt::format("read of {} bytes at {}", buffer.size(), offset);
    finish(::nbd_aio_pread(handle(), buffer.data(), buffer.size(), offset, NBD_NULL_COMPLETION, 0),
           what.c_str(), patience);
}

NbdConnection::Map NbdConnection::map(Extent asked, const Patience& patience) {
    Map map{{asked.begin, asked.begin}, {}};
    const ::nbd_extent_callback on_extents{&take_extents, &map, nullptr};
    const std::int64_t command =
        ::nbd_aio_block_status(handle(), asked.size(), asked.begin, on_extents, NBD_NULL_COMPLETION, 0);
    if (command < 0) return map;
    try {
        finish(command, "the map of holes", patience);
    } catch (const Error&) {
        if (handle_ == nullptr) throw;
        return {{asked.begin, asked.begin}, {}};  // it cannot, or does not want to
    }
    return map;
}

}  // namespace dupengine::image

// What a profile and a web server may say to firmware. An input is an address, a number that is said to be a
// length, and the sizes of the parts that come: never a crash; an address that is taken names a host and a
// file of it; a body never holds more than was announced, nor hands out room behind that; digests that are
// taken are those of a whole image.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "efi/core/piece_digests.h"
#include "efi/core/web.h"

namespace dupengine::fuzz {
namespace {

void check(bool holds) {
    if (!holds) std::abort();
}

void read_address(efi::TextView text) {
    efi::WebAddress address;
    if (!efi::read_web_address(text, address).empty()) return;
    check(efi::is_web_address(text) && !address.authority.empty());
    const std::string whole(text.begin(), text.end());
    const std::string host(address.authority.view().begin(), address.authority.view().end());
    check(whole.starts_with("http://" + host + "/") && whole.size() > host.size() + 8);
    check(host.find_first_of("@/ ") == std::string::npos);
}

// What is taken has a digest for each piece, and for no other.
void read_digests(efi::Bytes content) {
    efi::PieceDigests digests;
    if (!efi::read_piece_digests(content, digests).empty()) return;
    check(digests.image_bytes != 0 &&
          digests.digests.size() == (digests.image_bytes + (1 << 20) - 1) / (1 << 20) * 32);
    check(!digests.hold(digests.image_bytes, content) && digests.bytes_of(0) <= (1 << 20));
}

void read_body(std::size_t announced, efi::Bytes parts) {
    std::vector<std::byte> memory(announced);
    efi::WebBody body(memory);
    for (const std::byte part : parts) {
        const efi::Buffer room = body.room(100);
        check(room.size() <= 100 && body.size() + room.size() <= announced);
        check(room.empty() == body.complete());
        const std::size_t before = body.size();
        const auto bytes = static_cast<std::uint64_t>(part);
        const bool taken = body.filled(bytes).empty();
        check(taken == (bytes != 0 && bytes <= announced - before));
        check(body.size() == before + (taken ? bytes : 0));
    }
}

}  // namespace
}  // namespace dupengine::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dupengine;
    const efi::Bytes input = std::as_bytes(std::span(data, size));
    const efi::TextView text = efi::as_text(input);
    fuzz::read_address(text);
    fuzz::read_digests(input);
    if (const auto length = efi::read_content_length(text)) fuzz::check(*length < std::uint64_t{1} << 44);
    static_cast<void>(efi::is_content_length(text));
    if (size >= 2) fuzz::read_body(data[0] * 4u, input.subspan(1));
    return 0;
}

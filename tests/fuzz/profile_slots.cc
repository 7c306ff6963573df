// Any bytes as a profile store. An input begins the two slots (split in its middle); the rest of them is
// zero. Once as they are, once with the header's checksum made good, so that the checks behind it are
// reached.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "profiles/slots.h"

namespace {

using namespace dupengine;

void decode(std::span<const std::byte> start, bool repair) {
    Bytes slot(profiles::kSlotBytes);
    std::copy_n(start.begin(), std::min(start.size(), slot.size()), slot.begin());
    if (repair) store_le<std::uint32_t>(slot, 76, crc32(std::span(slot).first(76)));
    profiles::StoredProfile content;
    const auto result = profiles::decode_slot(slot, content);
    if (result.state != profiles::SlotState::kGood) {
        if (result.reason.empty() || !content.text.empty() || !content.secret.bytes.empty()) std::abort();
        return;
    }
    // A good slot says everything: the same content gives the same bytes up to the end of its payload.
    const Bytes again = profiles::encode_slot(content);
    if (!std::equal(again.begin(), again.begin() + 80, slot.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    for (bool repair : {false, true}) {
        decode(bytes.first(size / 2), repair);
        decode(bytes.subspan(size / 2), repair);
    }
    return 0;
}

// Any bytes as a profile store. An input begins the two slots (split in its middle); the rest of them is
// zero. Then all of it is a slot in a variable, which firmware believes or not as everybody else. Each once
// as it is, once with the checksums made good, so that the checks behind them are reached.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "codec/digest.h"
#include "efi/core/slot.h"
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

void decode_variable(std::span<const std::byte> input, bool repair) {
    Bytes slot(input.begin(), input.end());
    if (repair && slot.size() >= 80) {
        const codec::Sha256 digest = codec::sha256(std::span(slot).subspan(80));
        std::copy(digest.begin(), digest.end(), slot.begin() + 40);
        store_le<std::uint32_t>(slot, 76, crc32(std::span(slot).first(76)));
    }
    profiles::StoredProfile content;
    efi::StoredProfile seen;
    const bool good = profiles::decode_short_slot(slot, content).state == profiles::SlotState::kGood;
    if (efi::decode_short_slot(slot, seen).empty() != good) std::abort();
    if (!good) return;
    if (seen.generation != content.generation || as_text(efi::Bytes(slot).subspan(112)) != content.text ||
        seen.text.size() != content.text.size() || profiles::encode_short_slot(content) != slot)
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    for (bool repair : {false, true}) {
        decode(bytes.first(size / 2), repair);
        decode(bytes.subspan(size / 2), repair);
        decode_variable(bytes, repair);
    }
    return 0;
}

#include "cli/wake_letter.h"

#include <algorithm>

#include "base/error.h"

namespace dupengine::cli {
namespace {

constexpr std::size_t kSizeBytes = 8;

}  // namespace

Bytes encode_letter(const WakeLetter& letter) {
    const auto report = as_bytes(letter.source_report);
    Bytes bytes(kSizeBytes + report.size() + letter.held_boot.size());
    store_le<std::uint64_t>(bytes, 0, report.size());
    std::ranges::copy(report, bytes.begin() + kSizeBytes);
    std::ranges::copy(letter.held_boot, bytes.end() - static_cast<std::ptrdiff_t>(letter.held_boot.size()));
    return bytes;
}

WakeLetter decode_letter(const Bytes& bytes) {
    const std::uint64_t size = bytes.size() < kSizeBytes ? 0 : load_le<std::uint64_t>(bytes, 0);
    if (bytes.size() < kSizeBytes || size > bytes.size() - kSizeBytes)
        throw_error(Code::kIntegrity, "what the target had to tell came in part only");
    const auto told = std::span(bytes).subspan(kSizeBytes);
    const auto held = told.subspan(size);
    return {Bytes(held.begin(), held.end()), std::string(as_text(told.first(size)))};
}

}  // namespace dupengine::cli

#include "layout/crypt_table.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>

#include <charconv>
#include <vector>

#include "base/fd.h"
#include "base/secret.h"

namespace dupengine::layout {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end != 0) words.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
    std::uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
    return value;
}

constexpr std::string_view kSectorSize = "sector_size:", kIntegrity = "integrity:";

}  // namespace

std::optional<CryptTable> parse_crypt_table(std::string_view words) {
    constexpr std::size_t kDevice = 3, kOffset = 4, kOptions = 6;
    constexpr std::uint64_t kSector = 512;
    const auto split = words_of(words);
    if (split.size() <= kOffset) return std::nullopt;
    const auto device = parse_device_number(std::string(split[kDevice]));
    const auto offset = number_in(split[kOffset]);
    CryptTable table;
    if (!device || !offset || __builtin_mul_overflow(*offset, kSector, &table.begin)) return std::nullopt;
    table.device = *device;
    for (std::size_t i = kOptions; i < split.size(); ++i) {
        if (split[i].starts_with(kIntegrity)) return std::nullopt;  // the payload is then elsewhere
        if (!split[i].starts_with(kSectorSize)) continue;
        const auto size = number_in(split[i].substr(kSectorSize.size()));
        if (!size || *size < 512 || *size > 4096) return std::nullopt;
        table.sector_bytes = static_cast<std::uint32_t>(*size);
    }
    return table;
}

std::optional<CryptTable> ask_crypt_table(const std::string& control, DeviceNumber mapped) {
    Fd fd;
    try {
        fd = open_path(control, O_RDWR, Code::kUnsupported);
    } catch (const Error&) {
        return std::nullopt;
    }
    Secret answer(16 * kKiB);
    dm_ioctl request{};
    request.version[0] = DM_VERSION_MAJOR;
    request.data_size = static_cast<std::uint32_t>(answer.size());
    request.data_start = sizeof request;
    // Secure: the kernel forgets its own copy of the answer.
    request.flags = DM_STATUS_TABLE_FLAG | DM_SECURE_DATA_FLAG | DM_NOFLUSH_FLAG;
    request.dev = mapped;  // as the kernel's huge_encode_dev, for every major below 4096
    std::memcpy(answer.all().data(), &request, sizeof request);
    if (::ioctl(fd.get(), DM_TABLE_STATUS, answer.all().data()) != 0) return std::nullopt;
    std::memcpy(&request, answer.all().data(), sizeof request);
    dm_target_spec target{};
    const std::size_t words_at = std::size_t{request.data_start} + sizeof target;
    if ((request.flags & DM_BUFFER_FULL_FLAG) != 0 || request.target_count != 1 || words_at >= answer.size())
        return std::nullopt;
    std::memcpy(&target, answer.all().data() + request.data_start, sizeof target);
    if (target.sector_start != 0 || std::string_view(target.target_type) != "crypt") return std::nullopt;
    const std::string_view words(answer.chars() + words_at, answer.size() - words_at);
    return parse_crypt_table(words.substr(0, words.find('\0')));
}

}  // namespace dupengine::layout

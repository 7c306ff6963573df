#include "efi/firmware/tpm.h"

namespace dupengine::efi {
namespace {

constexpr Guid kTcg2Protocol =
    guid(0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f});
// Of whoever starts an operating system (TCG PC Client Platform Firmware Profile, 10.4.1).
constexpr std::uint32_t kInitialProgramLoad = 13;
constexpr std::size_t kLongestLine = 400;

struct Capability {
    std::uint8_t bytes, versions[4], reserved[3];
    std::uint32_t digests, event_logs;
    bool has_tpm;
    std::uint8_t rest[23];
};
static_assert(offsetof(Capability, has_tpm) == 16 && sizeof(Capability) == 40);

#pragma pack(push, 1)
struct EventHeader {
    std::uint32_t event_bytes, header_bytes;
    std::uint16_t header_version;
    std::uint32_t pcr, type;
    char text[kLongestLine];
};
#pragma pack(pop)
constexpr std::size_t kTextAt = offsetof(EventHeader, text);
static_assert(kTextAt == 18);

struct Tcg2 {
    Status(EFIAPI* capability)(Tcg2*, Capability*);
    void* event_log;
    Status(EFIAPI* hash_log_extend)(Tcg2*, std::uint64_t flags, std::uint64_t data, std::uint64_t data_bytes,
                                    const EventHeader*);
};

bool has_tpm(Tcg2& tcg) {
    Capability capability{};
    capability.bytes = sizeof capability;
    return tcg.capability(&tcg, &capability) == kSuccess && capability.has_tpm;
}

}  // namespace

TextView measure_line(BootServices& boot, TextView line) {
    void* found = nullptr;
    if (boot.locate_protocol(&kTcg2Protocol, nullptr, &found) != kSuccess) return {};
    auto& tcg = *static_cast<Tcg2*>(found);
    if (!has_tpm(tcg)) return {};
    if (line.size() > kLongestLine) return "the line is too long";
    EventHeader event{static_cast<std::uint32_t>(kTextAt + line.size()),
                      kTextAt - 4,
                      1,
                      kOwnRegister,
                      kInitialProgramLoad,
                      {}};
    for (std::size_t i = 0; i < line.size(); ++i)
        event.text[i] = line[i];
    const auto data = reinterpret_cast<std::uint64_t>(line.data());
    const Status status = tcg.hash_log_extend(&tcg, 0, data, line.size(), &event);
    return status == kSuccess ? TextView() : status_text(status);
}

}  // namespace dupengine::efi

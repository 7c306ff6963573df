#pragma once
// UEFI's HTTP and what it stands on (UEFI 2.10, chapters 28 and 29), as far as they are used here, as
// tables.h has the tables.

#include "efi/firmware/tables.h"

namespace dupengine::efi {

inline constexpr Guid kHttpBinding =
    guid(0xbdc8e6af, 0xd9bc, 0x4379, {0xa7, 0x2a, 0xe0, 0xc4, 0xe7, 0x5d, 0xae, 0x1c});
inline constexpr Guid kHttpProtocol =
    guid(0x7a59b29b, 0x910b, 0x4171, {0x82, 0x42, 0xa8, 0x5a, 0x0d, 0xf2, 0x5b, 0x5b});
inline constexpr Guid kIp4Config2Protocol =
    guid(0x5b446ed1, 0xe30b, 0x4faa, {0x87, 0x1a, 0x36, 0x54, 0xec, 0xa3, 0x60, 0x80});

struct ServiceBinding {
    Status(EFIAPI* create_child)(ServiceBinding*, Handle*);
    Status(EFIAPI* destroy_child)(ServiceBinding*, Handle);
};

enum class Ip4Data : std::uint32_t { kInterface, kPolicy };
inline constexpr std::uint32_t kPolicyDhcp = 1;
/// Of the data about an interface: its address.
inline constexpr std::size_t kStationAddressAt = 104;

struct Ip4Config2 {
    Status(EFIAPI* set_data)(Ip4Config2*, Ip4Data, std::uint64_t bytes, void* data);
    Status(EFIAPI* get_data)(Ip4Config2*, Ip4Data, std::uint64_t* bytes, void* data);
};

struct HttpAccessPoint {
    bool use_default_address;
    std::uint8_t address[4], subnet[4];
    std::uint16_t port;
};
static_assert(sizeof(HttpAccessPoint) == 12);

struct HttpConfig {
    std::uint32_t version;  ///< 1: HTTP 1.1
    std::uint32_t timeout_ms;
    bool is_ip6;
    HttpAccessPoint* access_point;
};
static_assert(offsetof(HttpConfig, access_point) == 16);

struct HttpRequest {
    std::uint32_t method;  ///< 0: GET
    char16_t* url;
};

struct HttpResponse {
    std::uint32_t status_code;  ///< core/web.h
};

struct HttpHeader {
    const char* name;
    const char* value;
};

struct HttpMessage {
    void* request_or_response;
    std::uint64_t header_count;
    HttpHeader* headers;
    std::uint64_t body_bytes;
    void* body;
};

struct HttpToken {
    Event event;
    Status status;
    HttpMessage* message;
};

struct Http {
    void* mode_data;
    Status(EFIAPI* configure)(Http*, HttpConfig*);
    Status(EFIAPI* request)(Http*, HttpToken*);
    Status(EFIAPI* cancel)(Http*, HttpToken*);
    Status(EFIAPI* response)(Http*, HttpToken*);
    Status(EFIAPI* poll)(Http*);
};

}  // namespace dupengine::efi

#pragma once
// The tables through which a UEFI application reaches firmware (UEFI 2.10, chapters 4, 7 and 8), as far as
// they are used here; slots that nobody calls are void*. Layouts only, no code. Sizes are of 64-bit firmware.

#include <cstddef>
#include <cstdint>

#include "efi/core/guid.h"

#define EFIAPI __attribute__((ms_abi))

namespace dupengine::efi {

using Status = std::uint64_t;
using Handle = void*;
using Event = void*;

inline constexpr Status kError = std::uint64_t{1} << 63;
inline constexpr Status kSuccess = 0;
inline constexpr Status kLoadError = kError | 1, kInvalidParameter = kError | 2, kUnsupported = kError | 3,
                        kBufferTooSmall = kError | 5, kDeviceError = kError | 7, kOutOfResources = kError | 9,
                        kVolumeCorrupted = kError | 10, kNotFound = kError | 14, kAccessDenied = kError | 15,
                        kAborted = kError | 21, kSecurityViolation = kError | 26;

struct TableHeader {
    std::uint64_t signature;
    std::uint32_t revision, header_bytes, crc32, reserved;
};

struct DevicePath;
struct LoadedImage;

struct InputKey {
    std::uint16_t scan_code;
    char16_t character;
};

struct TextInput {
    Status(EFIAPI* reset)(TextInput*, bool extended);
    Status(EFIAPI* read_key)(TextInput*, InputKey*);
    Event wait_for_key;
};

struct TextOutput {
    Status(EFIAPI* reset)(TextOutput*, bool extended);
    Status(EFIAPI* output)(TextOutput*, const char16_t*);
    void* test;
    void* query_mode;
    void* set_mode;
    void* set_attribute;
    Status(EFIAPI* clear)(TextOutput*);
    void* set_cursor;
    Status(EFIAPI* enable_cursor)(TextOutput*, bool visible);
    void* mode;
};

enum class MemoryType : std::uint32_t { kLoaderData = 2 };
enum class TimerDelay : std::uint32_t { kCancel, kPeriodic, kRelative };
enum class SearchType : std::uint32_t { kAllHandles, kByNotify, kByProtocol };
inline constexpr std::uint32_t kTimerEvent = 0x80000000;

struct BootServices {
    TableHeader header;
    std::uint64_t(EFIAPI* raise_tpl)(std::uint64_t level);
    void(EFIAPI* restore_tpl)(std::uint64_t level);
    void* allocate_pages;
    void* free_pages;
    void* memory_map;
    Status(EFIAPI* allocate_pool)(MemoryType, std::uint64_t bytes, void** buffer);
    Status(EFIAPI* free_pool)(void*);
    Status(EFIAPI* create_event)(std::uint32_t type, std::uint64_t level, void* notify, void* context,
                                 Event*);
    Status(EFIAPI* set_timer)(Event, TimerDelay, std::uint64_t hundred_nanoseconds);
    Status(EFIAPI* wait_for_event)(std::uint64_t count, Event*, std::uint64_t* index);
    void* signal_event;
    Status(EFIAPI* close_event)(Event);
    Status(EFIAPI* check_event)(Event);
    Status(EFIAPI* install_protocol)(Handle*, const Guid*, std::uint32_t native, void* interface);
    void* reinstall_protocol;
    Status(EFIAPI* uninstall_protocol)(Handle, const Guid*, void* interface);
    Status(EFIAPI* handle_protocol)(Handle, const Guid*, void** interface);
    void* reserved;
    void* register_notify;
    void* locate_handle;
    void* locate_device_path;
    void* install_configuration_table;
    Status(EFIAPI* load_image)(bool boot_policy, Handle parent, DevicePath*, void* source,
                               std::uint64_t bytes, Handle* image);
    Status(EFIAPI* start_image)(Handle image, std::uint64_t* exit_data_bytes, char16_t** exit_data);
    void* exit;
    Status(EFIAPI* unload_image)(Handle image);
    void* exit_boot_services;
    void* monotonic_count;
    Status(EFIAPI* stall)(std::uint64_t microseconds);
    Status(EFIAPI* set_watchdog)(std::uint64_t seconds, std::uint64_t code, std::uint64_t bytes,
                                 char16_t* data);
    Status(EFIAPI* connect_controller)(Handle, Handle* driver_image, DevicePath* remaining, bool recursive);
    void* disconnect_controller;
    void* open_protocol;
    void* close_protocol;
    void* open_protocol_information;
    void* protocols_per_handle;
    Status(EFIAPI* locate_handles)(SearchType, const Guid*, void* key, std::uint64_t* count,
                                   Handle** handles);
    Status(EFIAPI* locate_protocol)(const Guid*, void* registration, void** interface);
};
static_assert(offsetof(BootServices, load_image) == 200);
static_assert(offsetof(BootServices, locate_protocol) == 320);

enum class ResetType : std::uint32_t { kCold, kWarm, kShutdown };

struct RuntimeServices {
    TableHeader header;
    void* time[4];
    void* set_virtual_address_map;
    void* convert_pointer;
    Status(EFIAPI* get_variable)(const char16_t* name, const Guid* vendor, std::uint32_t* attributes,
                                 std::uint64_t* bytes, void* data);
    void* next_variable;
    Status(EFIAPI* set_variable)(const char16_t* name, const Guid* vendor, std::uint32_t attributes,
                                 std::uint64_t bytes, const void* data);
    void* high_monotonic_count;
    void(EFIAPI* reset)(ResetType, Status, std::uint64_t bytes, void* data);
    void* update_capsule;
    void* query_capsule;
    void* query_variables;
};
static_assert(sizeof(RuntimeServices) == 136);
static_assert(offsetof(RuntimeServices, reset) == 104);

struct SystemTable {
    TableHeader header;
    char16_t* vendor;
    std::uint32_t vendor_revision;
    Handle input_handle;
    TextInput* input;
    Handle output_handle;
    TextOutput* output;
    Handle error_handle;
    TextOutput* error;
    RuntimeServices* runtime;
    BootServices* boot;
    std::uint64_t table_count;
    void* configuration_tables;
};
static_assert(sizeof(SystemTable) == 120 && offsetof(SystemTable, boot) == 96);

}  // namespace dupengine::efi

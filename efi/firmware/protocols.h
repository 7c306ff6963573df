#pragma once
// The protocols of UEFI that are used here (UEFI 2.10, chapters 9, 10, 13 and 24), as tables.h has the
// tables.

#include "efi/firmware/tables.h"

namespace dupengine::efi {

inline constexpr Guid kLoadedImageProtocol =
    guid(0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b});
inline constexpr Guid kDevicePathProtocol =
    guid(0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b});
inline constexpr Guid kBlockIoProtocol =
    guid(0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b});
inline constexpr Guid kSimpleNetworkProtocol =
    guid(0xa19832b9, 0xac25, 0x11d3, {0x9a, 0x2d, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d});
inline constexpr Guid kFileSystemProtocol =
    guid(0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b});
inline constexpr Guid kFileInfo =
    guid(0x09576e92, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b});
inline constexpr Guid kLoadFile2Protocol =
    guid(0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d});
/// Where Linux looks for its initrd (its drivers/firmware/efi/libstub).
inline constexpr Guid kLinuxInitrdMedia =
    guid(0x5568e427, 0x68fc, 0x4f3d, {0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68});
inline constexpr Guid kGlobalVariables =
    guid(0x8be4df61, 0x93ca, 0x11d2, {0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c});
/// Drawn once at random for this project (dupengine-efi(8)).
inline constexpr Guid kOwnVariables =
    guid(0x87463cd7, 0x2602, 0x467b, {0xbe, 0xac, 0xb3, 0xb1, 0x7a, 0x82, 0xe3, 0xd0});

struct LoadedImage {
    std::uint32_t revision;
    Handle parent;
    SystemTable* system;
    Handle device;
    DevicePath* file_path;
    void* reserved;
    std::uint32_t load_options_bytes;
    void* load_options;
    void* base;
    std::uint64_t bytes;
    MemoryType code_type, data_type;
    void* unload;
};
static_assert(offsetof(LoadedImage, load_options) == 56);

struct BlockMedia {
    std::uint32_t id;
    bool removable, present, logical_partition, read_only, write_caching;
    std::uint32_t block_bytes, alignment;
    std::uint64_t last_block;
};
static_assert(offsetof(BlockMedia, block_bytes) == 12 && offsetof(BlockMedia, last_block) == 24);

struct BlockIo {
    std::uint64_t revision;
    BlockMedia* media;
    void* reset;
    Status(EFIAPI* read)(BlockIo*, std::uint32_t media, std::uint64_t lba, std::uint64_t bytes, void* buffer);
    Status(EFIAPI* write)(BlockIo*, std::uint32_t media, std::uint64_t lba, std::uint64_t bytes,
                          const void* buffer);
    Status(EFIAPI* flush)(BlockIo*);
};

struct File {
    std::uint64_t revision;
    Status(EFIAPI* open)(File*, File** opened, const char16_t* name, std::uint64_t mode,
                         std::uint64_t attributes);
    Status(EFIAPI* close)(File*);
    void* remove;
    Status(EFIAPI* read)(File*, std::uint64_t* bytes, void* buffer);
    void* write;
    void* position;
    void* set_position;
    Status(EFIAPI* info)(File*, const Guid* kind, std::uint64_t* bytes, void* buffer);
};
inline constexpr std::uint64_t kOpenForReading = 1;
/// Of a file's info: its size, and what it is.
inline constexpr std::size_t kFileSizeAt = 8, kFileAttributesAt = 72;
inline constexpr std::uint64_t kIsFolder = 0x10;

struct FileSystem {
    std::uint64_t revision;
    Status(EFIAPI* open_volume)(FileSystem*, File** root);
};

struct LoadFile2 {
    Status(EFIAPI* load)(LoadFile2*, DevicePath*, bool boot_policy, std::uint64_t* bytes, void* buffer);
};

}  // namespace dupengine::efi

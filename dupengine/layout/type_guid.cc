#include <array>
#include <string_view>

#include "layout/partition_table.h"

namespace dupengine::layout::type_guid {
namespace {

consteval unsigned digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    throw "a type GUID is written in lower-case hexadecimal digits";  // fails to compile
}

// At compile time, so that no other file's initialisation can come before it.
consteval Guid guid(std::string_view text) {
    constexpr std::array<std::size_t, 16> kTextPosition = {6,  4,  2,  0,  11, 9,  16, 14,
                                                           19, 21, 24, 26, 28, 30, 32, 34};
    if (text.size() != 36) throw "a GUID has 36 characters";
    Guid result;
    for (std::size_t i = 0; i < 16; ++i)
        result.bytes[i] = std::byte(digit(text[kTextPosition[i]]) << 4 | digit(text[kTextPosition[i] + 1]));
    return result;
}

}  // namespace

constinit const Guid kEfiSystem = guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
constinit const Guid kLinuxData = guid("0fc63daf-8483-4772-8e79-3d69d8477de4");
constinit const Guid kLinuxSwap = guid("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
constinit const Guid kRootX86_64 = guid("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
constinit const Guid kXbootldr = guid("bc13c2ff-59e6-4262-a352-b275fd6f7172");
constinit const Guid kBiosBoot = guid("21686148-6449-6e6f-744e-656564454649");
constinit const Guid kProfile = guid("d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972");

namespace {

struct Word {
    Guid type;
    const char* text;
};

// For a person only: nothing is decided by these words.
constexpr Word kWords[] = {
    {guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), "EFI system"},
    {guid("0fc63daf-8483-4772-8e79-3d69d8477de4"), "Linux filesystem"},
    {guid("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), "Linux swap"},
    {guid("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), "Linux root (x86-64)"},
    {guid("b921b045-1df0-41c3-af44-4c6f280d3fae"), "Linux root (ARM-64)"},
    {guid("8484680c-9521-48c6-9c11-b0720656f69e"), "Linux /usr (x86-64)"},
    {guid("933ac7e1-2eb4-4f13-b844-0e14e2aef915"), "Linux home"},
    {guid("3b8f8425-20e0-4f3b-907f-1a25a76f98e8"), "Linux server data"},
    {guid("4d21b016-b534-45c2-a9fb-5c16e091fd2d"), "Linux variable data"},
    {guid("bc13c2ff-59e6-4262-a352-b275fd6f7172"), "Linux extended boot"},
    {guid("e6d6d379-f507-44c2-a23c-238f2a3df928"), "Linux LVM"},
    {guid("a19d880f-05fc-4d3b-a006-743f0f84911e"), "Linux RAID"},
    {guid("ca7d7ccb-63ed-4c53-861c-1742536059cc"), "Linux LUKS"},
    {guid("21686148-6449-6e6f-744e-656564454649"), "BIOS boot"},
    {guid("9e1a2d38-c612-4316-aa26-8b49521e5a8b"), "PowerPC PReP boot"},
    {guid("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"), "Microsoft basic data"},
    {guid("e3c9e316-0b5c-4db8-817d-f92df00215ae"), "Microsoft reserved"},
    {guid("de94bba4-06d1-4d40-a16a-bfd50179d6ac"), "Windows recovery"},
    {guid("d0b2e641-5c1f-4f0a-9d43-7a6b8c15e972"), "dupengine profile"},
};

}  // namespace

std::string describe(const Guid& type) {
    for (const Word& word : kWords)
        if (word.type == type) return word.text;
    return type.text();
}

}  // namespace dupengine::layout::type_guid

#include "efi/firmware/keys.h"

#include "bootloader_hooks/efi_keys_format.h"

namespace dupengine::efi {
namespace {

namespace keys = boot::keys;

struct Section {
    decltype(keys::kMagic) magic = keys::kMagic;
    std::uint32_t count = 0;
    std::array<std::uint32_t, 3> zeros{};
    std::array<PublicKey, keys::kMost> keys{};
};
static_assert(offsetof(Section, count) == keys::kCountAt && offsetof(Section, keys) == keys::kKeysAt);
static_assert(sizeof(Section) == keys::kBytes && sizeof(PublicKey) == keys::kKeyBytes);

// Others fill it in: the compiler must not believe that it knows what is there.
__attribute__((section(".keys"), used)) const Section kSection{};

}  // namespace

std::span<const PublicKey> built_in_keys() {
    const Section* section = &kSection;
    asm("" : "+r"(section));
    const std::uint32_t count = section->count;
    return std::span(section->keys).first(count < keys::kMost ? count : keys::kMost);
}

}  // namespace dupengine::efi

#include "efi/core/boot_file.h"

#include "efi/core/web.h"

namespace dupengine::efi {
namespace {

using Line = Text<400>;

}  // namespace

bool wait_for_another_try(Firmware& firmware) {
    for (std::uint32_t left = kSecondsBetween; left > 0; --left) {
        firmware.print(Line().add("\rAgain in ").number(left).add(" s; any key stops that.  "));
        if (firmware.wait_key(1000) != 0) return (firmware.print("\n"), false);
    }
    firmware.print("\n");
    return true;
}

TextView read_boot_file(Firmware& firmware, const FilePlace& place, FileUse use, Bytes& content) {
    if (!is_web_address(place.path)) return firmware.read_file(place, use, content);
    WebAddress address;
    if (const TextView fault = read_web_address(place.path, address); !fault.empty()) return fault;
    return ask_patiently(firmware, [&] {
        firmware.print(Line().add("Fetches ").add(place.path).add(".\n"));
        const WebAnswer answer = firmware.fetch(place.path, address, use, content);
        if (!answer.reason.empty()) content = {};
        return answer;
    });
}

}  // namespace dupengine::efi

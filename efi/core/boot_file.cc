#include "efi/core/boot_file.h"

#include "efi/core/web.h"

namespace dupengine::efi {
namespace {

using Line = Text<400>;

// False: somebody pressed a key.
bool wait_awhile(Firmware& firmware) {
    for (std::uint32_t left = kSecondsBetween; left > 0; --left) {
        firmware.print(Line().add("\rAgain in ").number(left).add(" s; any key stops that.  "));
        if (firmware.wait_key(1000) != 0) return (firmware.print("\n"), false);
    }
    firmware.print("\n");
    return true;
}

}  // namespace

TextView read_boot_file(Firmware& firmware, const FilePlace& place, FileUse use, Bytes& content) {
    if (!is_web_address(place.path)) return firmware.read_file(place, use, content);
    WebAddress address;
    if (const TextView fault = read_web_address(place.path, address); !fault.empty()) return fault;
    for (unsigned tries = 1;; ++tries) {
        firmware.print(Line().add("Fetches ").add(place.path).add(".\n"));
        const WebAnswer answer = firmware.fetch(place.path, address, use, content);
        if (answer.reason.empty()) return {};
        content = {};
        firmware.print(Line().add("Not fetched: ").add(answer.reason).add(".\n"));
        if (!answer.may_pass || tries == kMostFetches || !wait_awhile(firmware)) return answer.reason;
    }
}

}  // namespace dupengine::efi

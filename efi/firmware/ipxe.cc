#include "efi/firmware/ipxe.h"

#include "efi/firmware/deadline.h"

namespace dupengine::efi {
namespace {

constexpr Guid kIpxeDownload =
    guid(0x3eaeaebd, 0xdecf, 0x493b, {0x9b, 0xd1, 0xcd, 0xb2, 0xde, 0xca, 0xe7, 0x19});

/// iPXE works with the calls of others held back, and before 2020-07-14 it leaves that so after a download
/// for whoever had not done it himself (UEFI 2.10, 7.1).
class HeldBack {
  public:
    explicit HeldBack(BootServices& boot) : boot_(boot), before_(boot.raise_tpl(kCallbackLevel)) {}
    ~HeldBack() { boot_.restore_tpl(before_); }
    HeldBack(const HeldBack&) = delete;
    HeldBack& operator=(const HeldBack&) = delete;

  private:
    static constexpr std::uint64_t kCallbackLevel = 8;
    BootServices& boot_;
    std::uint64_t before_;
};

struct Download {
    Pool& into;
    std::size_t arrived = 0;
    TextView reason = {};
    bool has_ended = false;
    Status status = kSuccess;

    Status refuse(TextView why) {
        reason = why;
        return kAborted;
    }
    Status begin(std::uint64_t bytes) {
        // It says where it begins, too, and may say it twice.
        if (bytes == 0 || into.all().size() == bytes) return kSuccess;
        if (arrived != 0) return refuse("the web server sends another file half-way");
        if (bytes > kLargestWebFile) return refuse("it is too large");
        return into.allocate(bytes) ? kSuccess : refuse("there is not enough memory");
    }
    Status take(const void* data, std::uint64_t bytes, std::uint64_t offset) {
        if (into.all().empty()) return refuse("the web server does not say how large it is");
        if (offset != arrived || bytes > into.all().size() - arrived)
            return refuse("the web server sent more than it said");
        __builtin_memcpy(into.all().data() + arrived, data, bytes);
        arrived += bytes;
        return kSuccess;
    }
};

Status EFIAPI on_data(void* context, const void* data, std::uint64_t bytes, std::uint64_t offset) {
    auto& download = *static_cast<Download*>(context);
    return bytes == 0 ? download.begin(offset) : download.take(data, bytes, offset);
}

void EFIAPI on_end(void* context, Status status) {
    auto& download = *static_cast<Download*>(context);
    download.has_ended = true;
    download.status = status;
}

WebAnswer judge(const Download& download) {
    if (!download.reason.empty()) return {download.reason};
    if (download.status == kNotFound) return {"the web server does not have it"};
    if (download.status == kAccessDenied) return {"the web server does not give it out"};
    if (download.arrived != 0 && download.arrived < download.into.all().size())
        return {"the web server stopped half-way", true};
    if (download.status != kSuccess) return {"no web server answers there", true};
    if (download.arrived == 0) return {"the web server does not say how large it is"};
    return {};
}

}  // namespace

Ipxe* ipxe_of(BootServices& boot, Handle self) {
    const auto* loaded = protocol_of<LoadedImage>(boot, self, kLoadedImageProtocol);
    return loaded == nullptr ? nullptr : protocol_of<Ipxe>(boot, loaded->device, kIpxeDownload);
}

WebAnswer fetch_by_ipxe(BootServices& boot, Console& console, Ipxe& ipxe, TextView url, Pool& into) {
    Text<300> address(url);
    address.add('\0');
    into.free();
    Download download{into};
    void* file = nullptr;
    if (address.cut()) return {"its address is too long"};
    const HeldBack held(boot);
    if (ipxe.start(&ipxe, address.view().data(), on_data, on_end, &download, &file) != kSuccess)
        return {"iPXE cannot ask for it", true};
    std::size_t shown = 0;
    while (!download.has_ended) {
        Deadline deadline(boot, kPatience);
        const std::size_t before = download.arrived;
        while (!download.has_ended && download.arrived / kMiB == before / kMiB && !deadline.has_come())
            ipxe.poll(&ipxe);
        if (!download.has_ended && download.arrived == before) ipxe.abort(&ipxe, file, kAborted);
        if (download.arrived / kMiB == shown) continue;
        shown = download.arrived / kMiB;
        console.print(
            Text<80>().add("\r").number(shown).add(" of ").number(into.all().size() / kMiB).add(" MiB"));
    }
    if (shown != 0) console.print("\n");
    return judge(download);
}

}  // namespace dupengine::efi

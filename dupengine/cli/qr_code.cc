#include "cli/qr_code.h"

#include <qrencode.h>

#include <cerrno>
#include <memory>

#include "base/error.h"

namespace dupengine::cli {
namespace {

struct FreeCode {
    void operator()(QRcode* code) const { QRcode_free(code); }
};

constexpr int kQuietZone = 4;  // modules of light around it, as the standard wants

bool is_light(const QRcode& code, int x, int y) {
    if (x < 0 || y < 0 || x >= code.width || y >= code.width) return true;
    return (code.data[y * code.width + x] & 1) == 0;
}

}  // namespace

std::string draw_qr_code(const std::string& text, const DrawingStyle& style) {
    const std::unique_ptr<QRcode, FreeCode> code(
        QRcode_encodeString(text.c_str(), 0, QR_ECLEVEL_M, QR_MODE_8, 1));
    if (code == nullptr) throw_errno(Code::kInternal, errno, "no QR code can be made");
    const int last = code->width + kQuietZone;
    if (style.charset != Charset::kUtf8 || static_cast<int>(style.columns) < last + kQuietZone) return "";
    std::string drawing;
    for (int y = -kQuietZone; y < last; y += 2) {
        if (style.colors) drawing += "\033[97;40m";
        for (int x = -kQuietZone; x < last; ++x) {
            // The row below the last one is no part of it.
            const bool upper = is_light(*code, x, y), lower = y + 1 < last && is_light(*code, x, y + 1);
            drawing += upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ");
        }
        drawing += style.colors ? "\033[0m\n" : "\n";
    }
    return drawing;
}

}  // namespace dupengine::cli

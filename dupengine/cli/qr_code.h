#pragma once
// A QR code (ISO/IEC 18004) in half blocks, to be read off a screen with a scanner that types. Pure.
// libqrencode stays behind this header.

#include <string>

#include "cli/drawing.h"

namespace dupengine::cli {

/// Lines, each ended; empty where the style has no half blocks, or too few columns. Light modules are drawn
/// and dark ones are left, as it has to be on a dark screen; with colours it is right on any.
std::string draw_qr_code(const std::string& text, const DrawingStyle& style);

}  // namespace dupengine::cli

#pragma once
// What may be drawn on a stream: how wide, in which characters, whether in colours. Reads the terminal and
// the environment (COLUMNS, LC_ALL, LC_CTYPE, LANG, NO_COLOR, TERM); changes neither.

#include "cli/drawing.h"

namespace dupengine::cli {

struct Terminal {
    bool is_terminal = false;
    DrawingStyle style;
};

/// `fd`: 1 or 2. Without a terminal: COLUMNS or 80 columns, no colours, still the characters of the locale.
Terminal look_at_terminal(int fd);

/// Terminal width of `fd` now (a window may be resized), 0 if it is no terminal.
unsigned terminal_columns(int fd);

}  // namespace dupengine::cli

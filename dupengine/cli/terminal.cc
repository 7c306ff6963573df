#include "cli/terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace dupengine::cli {
namespace {

constexpr unsigned kDefaultColumns = 80;
constexpr unsigned kFewestColumns = 40;
constexpr unsigned kMostColumns = 200;  // beyond that a line is no easier to read

std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

// The locale as the user set it, without making it the program's: messages and numbers stay as they are.
Charset charset_of_user() {
    const locale_t locale = ::newlocale(LC_CTYPE_MASK, "", nullptr);
    if (locale == nullptr) return Charset::kAscii;  // a locale that is not installed
    const bool utf8 = std::strcmp(::nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
    ::freelocale(locale);
    return utf8 ? Charset::kUtf8 : Charset::kAscii;
}

}  // namespace

unsigned terminal_columns(int fd) {
    struct winsize size {};
    return ::isatty(fd) == 1 && ::ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

Terminal look_at_terminal(int fd) {
    Terminal terminal;
    terminal.is_terminal = ::isatty(fd) == 1;
    unsigned columns = terminal_columns(fd);
    const std::string_view wanted = environment("COLUMNS");
    if (columns == 0) std::from_chars(wanted.data(), wanted.data() + wanted.size(), columns);
    if (columns == 0) columns = kDefaultColumns;
    terminal.style.columns = std::clamp(columns, kFewestColumns, kMostColumns);
    terminal.style.charset = charset_of_user();
    // https://no-color.org: set and not empty means no colours.
    terminal.style.colors =
        terminal.is_terminal && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
    return terminal;
}

}  // namespace dupengine::cli

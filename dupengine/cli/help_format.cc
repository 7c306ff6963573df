#include "cli/help_format.h"

namespace dupengine::cli {

std::string HelpFormat::make_option_name(const CLI::Option* option, bool is_positional) const {
    if (is_positional && !option->get_option_text().empty()) return option->get_option_text();
    return Formatter::make_option_name(option, is_positional);
}

std::string HelpFormat::make_option_opts(const CLI::Option* option) const {
    return option->get_positional() ? "" : Formatter::make_option_opts(option);
}

std::string HelpFormat::make_option_usage(const CLI::Option* option) const {
    if (!option->get_option_text().empty()) return option->get_option_text();
    return Formatter::make_option_usage(option);
}

}  // namespace dupengine::cli

#pragma once
// How --help names what a command is given without an option: as its manual does, one word each, or the text
// that was set where one word does not say it.

#include <CLI/CLI.hpp>

namespace dupengine::cli {

class HelpFormat final : public CLI::Formatter {
  public:
    std::string make_option_name(const CLI::Option* option, bool is_positional) const override;
    std::string make_option_opts(const CLI::Option* option) const override;
    std::string make_option_usage(const CLI::Option* option) const override;
};

}  // namespace dupengine::cli

#include "bootloader_hooks/grub_environment.h"

#include <vector>

#include "base/error.h"

namespace dupengine::boot {
namespace {

// grub-core/lib/envblk.c and docs of GRUB 2.06.
constexpr std::string_view kSignature = "# GRUB Environment Block\n";
constexpr std::size_t kUsualBytes = 1024;
constexpr char kFill = '#';

/// Lines with their line feed, in which a backslash takes the next character as it is.
std::vector<std::string_view> lines_of(std::string_view block) {
    if (!block.starts_with(kSignature)) throw_error(Code::kIntegrity, "it is no environment block of GRUB");
    const std::string_view text = block.substr(0, block.rfind('\n') + 1);
    std::vector<std::string_view> lines;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\') {
            ++i;
        } else if (text[i] == '\n') {
            lines.push_back(text.substr(begin, i + 1 - begin));
            begin = i + 1;
        }
    }
    if (begin != text.size()) throw_error(Code::kIntegrity, "a line of GRUB's environment block has no end");
    return lines;
}

bool is_of(std::string_view line, std::string_view name) {
    return line.starts_with(name) && line.substr(name.size()).starts_with('=');
}

}  // namespace

std::string empty_grub_environment() {
    std::string block(kSignature);
    block.resize(kUsualBytes, kFill);
    return block;
}

std::optional<std::string> grub_variable(std::string_view block, std::string_view name) {
    for (const std::string_view line : lines_of(block)) {
        if (!is_of(line, name)) continue;
        std::string value;
        for (std::size_t i = name.size() + 1; i + 1 < line.size(); ++i) {
            if (line[i] == '\\') ++i;
            value += line[i];
        }
        return value;
    }
    return std::nullopt;
}

std::string with_grub_variable(std::string_view block, std::string_view name,
                               const std::optional<std::string>& value) {
    std::string changed;
    for (const std::string_view line : lines_of(block))
        if (!is_of(line, name)) changed += line;
    if (value) changed.append(name).append("=").append(*value).append("\n");
    if (changed.size() > block.size())
        throw_error(Code::kRefused, "GRUB's environment block has no room for {}", name);
    changed.resize(block.size(), kFill);
    return changed;
}

}  // namespace dupengine::boot

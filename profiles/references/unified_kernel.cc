#include "profiles/references/unified_kernel.h"

#include <optional>

#include "base/bytes.h"
#include "profiles/references/initramfs.h"
#include "profiles/references/initramfs_members.h"

namespace dupengine::profiles {
namespace {

struct Section {
    std::string name;
    std::size_t begin = 0, size = 0;
    bool holds(std::size_t offset, std::size_t length) const {
        return offset >= begin && offset + length <= begin + size;
    }
};

struct Program {
    std::vector<Section> sections;
    bool is_signed = false;
    const Section* by_name(std::string_view name) const {
        for (const Section& section : sections)
            if (section.name == name) return &section;
        return nullptr;
    }
};

// Offsets of the PE format: COFF header after "PE\0\0", optional header PE32+ (magic 0x20b), data directory 4
// is the certificate table, a section header has 40 bytes.
std::optional<Program> parse_program(std::string_view file) {
    const auto bytes = as_bytes(file);
    if (file.substr(0, 2) != "MZ") return std::nullopt;
    try {
        const std::uint64_t pe = load_le<std::uint32_t>(bytes, 0x3c);
        if (load_le<std::uint32_t>(bytes, pe) != 0x4550) return std::nullopt;
        const unsigned count = load_le<std::uint16_t>(bytes, pe + 6);
        const std::uint64_t optional_header = pe + 24,
                            optional_bytes = load_le<std::uint16_t>(bytes, pe + 20);
        Program program;
        const bool plus = load_le<std::uint16_t>(bytes, optional_header) == 0x20b;
        const std::uint64_t directories = optional_header + (plus ? 112 : 96);
        if (load_le<std::uint32_t>(bytes, directories - 4) > 4)
            program.is_signed = load_le<std::uint32_t>(bytes, directories + 36) != 0;
        for (unsigned i = 0; i < count; ++i) {
            const std::uint64_t at = optional_header + optional_bytes + std::uint64_t{40} * i;
            const std::uint64_t size = load_le<std::uint32_t>(bytes, at + 16),
                                begin = load_le<std::uint32_t>(bytes, at + 20);
            std::string name(file.substr(at, 8));
            name.resize(name.find('\0') == std::string::npos ? name.size() : name.find('\0'));
            if (begin + size > file.size()) return std::nullopt;
            program.sections.push_back({name, begin, size});
        }
        return program;
    } catch (const Error&) {
        return std::nullopt;  // cut short: whatever it is, no firmware starts it
    }
}

std::string_view without_padding(std::string_view section) {
    const std::size_t end = section.find_last_not_of('\0');
    return section.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

void inspect_inner_initramfs(std::string_view file, const Program& program, const IdentifierMap& map,
                             std::vector<std::string>& stuck) {
    const Section* section = program.by_name(".initrd");
    if (section == nullptr) return;
    const std::string_view inner = without_padding(file.substr(section->begin, section->size));
    if (!may_be_initramfs(inner)) return;
    const InitramfsFindings found = inspect_initramfs(inner, map);
    for (const std::string& name : found.rewritten)
        stuck.push_back("the initramfs inside holds an old identifier in " + name);
    for (const std::string& line : found.stuck)
        stuck.push_back("the initramfs inside: " + line);
}

}  // namespace

UnifiedKernelFindings inspect_unified_kernel(std::string_view file, const IdentifierMap& map) {
    UnifiedKernelFindings found;
    const std::optional<Program> program = parse_program(file);
    if (!program || program->by_name(".linux") == nullptr) return found;
    found.is_unified_kernel = true;
    inspect_inner_initramfs(file, *program, map, found.stuck);
    const Section* command_line = program->by_name(".cmdline");
    const Section* inner = program->by_name(".initrd");
    auto hits = map.find(file);
    // Pieces of the initramfs may stand readable in its compressed form; it was looked through above.
    std::erase_if(hits,
                  [&](const auto& hit) { return inner != nullptr && inner->holds(hit.offset, hit.length); });
    for (const auto& hit : hits)
        if (command_line == nullptr || !command_line->holds(hit.offset, hit.length))
            found.stuck.push_back("holds " + hit.identifier + " outside its command line");
    if (!hits.empty() && program->is_signed)
        found.stuck.emplace_back("is signed, and a change would break the signature");
    if (!hits.empty() && found.stuck.empty()) found.corrected = map.rewrite(file);
    return found;
}

}  // namespace dupengine::profiles

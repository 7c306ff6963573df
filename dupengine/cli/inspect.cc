// dupengine inspect: what is on a disk or in an image file, drawn for a person or as JSON. Writes nothing.

#include <cerrno>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/image_view.h"
#include "cli/inspection.h"
#include "cli/terminal.h"

namespace dupengine::cli {
namespace {

struct InspectOptions {
    std::string path;
    std::uint32_t sector_bytes = 0;  // 0: as the device says
    image::SourceFormat format = image::SourceFormat::kAuto;
    image::WebOptions web;
};

// What can be seen is shown even where not all can; then the reason follows, as one line.
int inspect(const InspectOptions& options, const Globals& globals) {
    if (const auto reference = image::parse_reference(options.path)) {
        if (options.sector_bytes != 0 || options.format != image::SourceFormat::kAuto)
            throw_error(Code::kUsage, "--sector-size and --source-format are for files");
        return inspect_image(*reference, options.web, globals);
    }
    const Inspection inspection = look_at_disk(
        options.path, options.sector_bytes == 0 ? std::nullopt : std::optional(options.sector_bytes),
        options.format);
    if (globals.json) {
        fmt::print("{}\n", inspection_json(inspection));
    } else {
        fmt::print("{}", inspection_text(inspection, look_at_terminal(1).style));
    }
    if (std::fflush(stdout) != 0) throw_errno(Code::kInternal, errno, "standard output cannot be written");
    if (!inspection.failure) return 0;
    fmt::print(stderr, "dupengine: {}\n", inspection.failure->what());
    return static_cast<int>(inspection.failure->code());
}

}  // namespace

void add_inspect(CLI::App& app, Globals& globals, Action& action) {
    CLI::App& verb = *app.add_subcommand("inspect", "Show what is on a disk or in an image file");
    const auto options = std::make_shared<InspectOptions>();
    verb.add_option("ENDPOINT", options->path,
                    "A block device, a raw image file, a store of images or one of them")
        ->required();
    verb.add_option("--sector-size", options->sector_bytes,
                    "Sector size of the disk that an image file is of")
        ->option_text("BYTES")
        ->check(CLI::IsMember({512, 4096}).description(""));
    add_source_format_option(verb, options->format);
    add_web_options(verb, options->web);
    add_json_option(verb, globals);
    verb.callback([options, &globals, &action] {
        action = [options, &globals] { return inspect(*options, globals); };
    });
}

}  // namespace dupengine::cli

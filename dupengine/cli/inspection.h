#pragma once
// What `dupengine inspect` found, and how it is told: to a person as text, to a program as JSON. From values
// to text; never prints, never looks at a disk by itself but in look_at_disk. Used from one thread.

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/drawing.h"
#include "image/foreign/kind.h"
#include "layout/describe.h"
#include "layout/in_use.h"

namespace dupengine::cli {

struct Inspection {
    layout::DiskDescription disk;
    std::vector<layout::Use> uses;
    /// Why this is not all there is to see; its code becomes the exit status.
    std::optional<Error> failure;
};

/// Describes what can be seen. Throws kRefused for what is no disk or image, and what opening throws;
/// whatever goes wrong later becomes `failure`.
Inspection look_at_disk(const std::string& path, std::optional<std::uint32_t> sector_bytes,
                        image::SourceFormat format = image::SourceFormat::kAuto);

/// The part of it that needs no path: without uses. A disk that cannot be read everywhere still has a table,
/// or at least a size.
Inspection describe_what_can_be_read(const block::Reader& reader);

/// The picture, the table, the remarks.
std::string inspection_text(const Inspection& inspection, const DrawingStyle& style);
/// One JSON document with exact numbers (dupengine-inspect(8), JSON).
std::string inspection_json(const Inspection& inspection);

// What text and JSON share.
/// Why a partition must never be written: "profile", or the name it was kept by in a copy that has not ended;
/// else empty.
std::string protection_of(const Inspection& inspection, const layout::Partition& partition);
/// Whether `use` is of this partition alone.
bool is_use_of(const layout::Use& use, const layout::Partition& partition);
/// A type in words, GPT or MBR.
std::string type_in_words(layout::TableKind kind, const layout::Partition& partition);

}  // namespace dupengine::cli

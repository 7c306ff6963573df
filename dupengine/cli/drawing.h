#pragma once
// Pictures of a disk in text: a bar in proportion, and tables. From values to text, without knowing where the
// values come from: `inspect` draws what is there, `copy` what it will do. Never prints. Pure; safe from any
// thread. Texts are made harmless here (text.h), so callers pass labels as the disk has them.

#include <optional>
#include <string>
#include <vector>

#include "block/extent.h"
#include "cli/text.h"

namespace dupengine::cli {

struct DrawingStyle {
    unsigned columns = 80;
    Charset charset = Charset::kAscii;
    bool colors = false;
};

/// What a part of a disk is, or what becomes of it; decides its colour and filling.
enum class SegmentKind {
    kFree,    ///< nothing there: empty
    kData,    ///< a filesystem, or what is copied: filled as far as it is used
    kSystem,  ///< what firmware and boot loaders read
    kSwap,
    kProtected,  ///< never written
    kDiscarded,  ///< becomes free or zero
    kOther       ///< bytes that nobody here understands
};

struct Segment {
    block::Extent extent;
    std::string label;  ///< first line of its block: "2 root"
    std::string note;   ///< second line: "ext4 40 %"
    SegmentKind kind = SegmentKind::kOther;
    std::optional<double> filled;  ///< 0 to 1: how much of it is in use; empty draws it full
};

/// Segments in disk order, with a kFree segment (labelled `label`) for each gap in `whole` of at least
/// `least_bytes`.
std::vector<Segment> with_free_space(std::vector<Segment> segments, block::Extent whole,
                                     std::uint64_t least_bytes, const std::string& label);

/// Five lines, each ended: a box per segment, as wide as its share of the disk but never too narrow to be
/// seen. Where there are more segments than columns allow, the smaller neighbours share a box.
std::string draw_bar(const std::vector<Segment>& segments, const DrawingStyle& style);

struct Column {
    std::string head;
    bool right = false;  ///< numbers stand on the right
};

struct Row {
    std::vector<std::string> cells;
    std::vector<std::string> remarks;  ///< a line each, below the row; not cut
};

/// How wide the table would be if nothing were cut.
std::size_t table_columns(const std::vector<Column>& columns, const std::vector<Row>& rows,
                          const DrawingStyle& style);

/// A heading, then the rows. Columns whose cells are all empty are left out; where the rest is wider than the
/// terminal, the widest columns of text are cut.
std::string draw_table(const std::vector<Column>& columns, const std::vector<Row>& rows,
                       const DrawingStyle& style);

}  // namespace dupengine::cli

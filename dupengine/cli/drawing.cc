#include "cli/drawing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dupengine::cli {
namespace {

constexpr std::size_t kNarrowestBox = 3;  // columns between its walls

struct Glyphs {
    const char *horizontal, *vertical, *top_left, *top_join, *top_right, *bottom_left, *bottom_join,
        *bottom_right;
    const char *full, *empty, *is_protected, *discarded, *other;
};
constexpr Glyphs kUnicode = {"─", "│", "┌", "┬", "┐", "└", "┴", "┘", "█", "░", "▒", "╱", "▓"};
constexpr Glyphs kPlain = {"-", "|", "+", "+", "+", "+", "+", "+", "#", ".", "=", "/", "%"};

const Glyphs& glyphs(const DrawingStyle& style) {
    return style.charset == Charset::kUtf8 ? kUnicode : kPlain;
}

const char* color_of(SegmentKind kind) {
    switch (kind) {
        case SegmentKind::kFree:
            return "\033[2m";
        case SegmentKind::kData:
            return "\033[34m";
        case SegmentKind::kSystem:
            return "\033[36m";
        case SegmentKind::kSwap:
            return "\033[35m";
        case SegmentKind::kProtected:
            return "\033[32m";
        case SegmentKind::kDiscarded:
            return "\033[31m";
        case SegmentKind::kOther:
            return "\033[33m";
    }
    return "";
}

std::string colored(const std::string& text, SegmentKind kind, const DrawingStyle& style) {
    return style.colors ? color_of(kind) + text + "\033[0m" : text;
}

std::string filling(const Segment& segment, std::size_t width, const DrawingStyle& style) {
    const Glyphs& glyph = glyphs(style);
    switch (segment.kind) {
        case SegmentKind::kFree:
            return std::string(width, ' ');
        case SegmentKind::kProtected:
            return repeated(glyph.is_protected, width);
        case SegmentKind::kDiscarded:
            return repeated(glyph.discarded, width);
        case SegmentKind::kOther:
            return repeated(glyph.other, width);
        default:
            break;
    }
    const double share = std::clamp(segment.filled.value_or(1.0), 0.0, 1.0);
    auto full = static_cast<std::size_t>(std::llround(share * static_cast<double>(width)));
    // Neither "empty" nor "full" is said of what is not.
    if (share > 0 && full == 0) full = 1;
    if (share < 1 && full == width && width > 1) full = width - 1;
    return repeated(glyph.full, full) + repeated(glyph.empty, width - full);
}

// At most `most` segments: the largest stay by themselves, runs of the others become one.
std::vector<Segment> joined_to(std::vector<Segment> segments, std::size_t most) {
    if (segments.size() <= most) return segments;
    std::vector<std::size_t> by_size(segments.size());
    std::iota(by_size.begin(), by_size.end(), std::size_t{0});
    std::stable_sort(by_size.begin(), by_size.end(), [&](std::size_t a, std::size_t b) {
        return segments[a].extent.size() > segments[b].extent.size();
    });
    std::vector<bool> stays(segments.size(), false);
    for (std::size_t i = 0; i < (most - 1) / 2; ++i)
        stays[by_size[i]] = true;  // and a run between any two of them
    std::vector<Segment> result;
    std::size_t run = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (stays[i] || run == 0) {
            result.push_back(segments[i]);
        } else {
            Segment& last = result.back();
            last.extent.end = std::max(last.extent.end, segments[i].extent.end);
            last.label = "+" + std::to_string(run + 1);
            last.note.clear();
            last.kind = SegmentKind::kOther;
        }
        run = stays[i] ? 0 : run + 1;
    }
    return result;
}

// Columns for each segment, `room` in all: the narrowest box for each, the rest by largest remainder.
std::vector<std::size_t> widths_of(const std::vector<Segment>& segments, std::size_t room) {
    const std::size_t narrowest = std::min(kNarrowestBox, room / segments.size());
    std::vector<std::size_t> widths(segments.size(), narrowest);
    const std::size_t spare = room - narrowest * segments.size();
    double total = 0;
    for (const Segment& s : segments)
        total += static_cast<double>(s.extent.size());
    if (total == 0) total = 1;
    // A segment is first given what its share of the room exceeds the narrowest box by.
    std::vector<double> wish(segments.size());
    double wishes = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const double share =
            static_cast<double>(segments[i].extent.size()) / total * static_cast<double>(room);
        wish[i] = std::max(0.0, share - static_cast<double>(narrowest));
        wishes += wish[i];
    }
    if (wishes == 0) std::fill(wish.begin(), wish.end(), 1.0), wishes = static_cast<double>(segments.size());
    std::size_t given = 0;
    std::vector<std::pair<double, std::size_t>> remainders;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const double part = wish[i] / wishes * static_cast<double>(spare);
        const auto whole = std::min(static_cast<std::size_t>(part), spare - given);
        widths[i] += whole;
        given += whole;
        remainders.emplace_back(static_cast<double>(whole) - part, i);
    }
    std::sort(remainders.begin(), remainders.end());
    for (std::size_t i = 0; given < spare; ++given, ++i)
        ++widths[remainders[i % remainders.size()].second];
    return widths;
}

}  // namespace

std::vector<Segment> with_free_space(std::vector<Segment> segments, block::Extent whole,
                                     std::uint64_t least_bytes, const std::string& label) {
    std::stable_sort(segments.begin(), segments.end(),
                     [](const Segment& a, const Segment& b) { return a.extent.begin < b.extent.begin; });
    std::vector<Segment> result;
    ByteOffset at = whole.begin;
    const auto add_gap = [&](ByteOffset end) {
        if (end > at && end - at >= std::max<std::uint64_t>(least_bytes, 1))
            result.push_back({{at, end}, label, "", SegmentKind::kFree, std::nullopt});
    };
    for (Segment& segment : segments) {
        add_gap(segment.extent.begin);
        at = std::max(at, segment.extent.end);
        result.push_back(std::move(segment));
    }
    add_gap(whole.end);
    return result;
}

std::string draw_bar(const std::vector<Segment>& all, const DrawingStyle& style) {
    if (all.empty()) return {};
    const std::size_t columns = std::max<std::size_t>(style.columns, kNarrowestBox + 2);
    const std::vector<Segment> segments =
        joined_to(all, std::max<std::size_t>(1, (columns - 1) / (kNarrowestBox + 1)));
    const std::vector<std::size_t> widths = widths_of(segments, columns - segments.size() - 1);
    const Glyphs& glyph = glyphs(style);
    const auto border = [&](const char* left, const char* join, const char* right) {
        std::string line = left;
        for (std::size_t i = 0; i < segments.size(); ++i)
            line += repeated(glyph.horizontal, widths[i]) + (i + 1 < segments.size() ? join : right);
        return line + "\n";
    };
    const auto line_of = [&](const auto& text_of) {
        std::string line = glyph.vertical;
        for (std::size_t i = 0; i < segments.size(); ++i)
            line += colored(text_of(segments[i], widths[i]), segments[i].kind, style) + glyph.vertical;
        return line + "\n";
    };
    const auto text = [&](const std::string& words, std::size_t width) {
        return fitted(printable(words, style.charset), width, style.charset);
    };
    return border(glyph.top_left, glyph.top_join, glyph.top_right) +
           line_of([&](const Segment& s, std::size_t width) { return text(s.label, width); }) +
           line_of([&](const Segment& s, std::size_t width) { return text(s.note, width); }) +
           line_of([&](const Segment& s, std::size_t width) { return filling(s, width, style); }) +
           border(glyph.bottom_left, glyph.bottom_join, glyph.bottom_right);
}

}  // namespace dupengine::cli

#include <algorithm>
#include <numeric>

#include "cli/drawing.h"

namespace dupengine::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowestText = 8;

// The cells of one row; missing ones are empty.
std::string cell(const Row& row, std::size_t i, const DrawingStyle& style) {
    return i < row.cells.size() ? printable(row.cells[i], style.charset) : std::string();
}

std::vector<std::size_t> natural_widths(const std::vector<Column>& columns, const std::vector<Row>& rows,
                                        const DrawingStyle& style) {
    std::vector<std::size_t> widths(columns.size(), 0);
    for (std::size_t i = 0; i < columns.size(); ++i) {
        for (const Row& row : rows)
            widths[i] = std::max(widths[i], columns_of(cell(row, i, style)));
        if (widths[i] != 0) widths[i] = std::max(widths[i], columns_of(columns[i].head));
    }
    return widths;
}

std::size_t total_of(const std::vector<std::size_t>& widths) {
    std::size_t sum = 0;
    for (std::size_t width : widths)
        if (width != 0) sum += width + kGap;
    return sum - std::min(sum, kGap);
}

// Takes columns away from the widest text until the line fits, or no text can give any more.
void narrow(std::vector<std::size_t>& widths, const std::vector<Column>& columns, std::size_t limit) {
    while (total_of(widths) > limit) {
        std::size_t widest = columns.size();
        for (std::size_t i = 0; i < columns.size(); ++i)
            if (!columns[i].right && widths[i] > kNarrowestText &&
                (widest == columns.size() || widths[i] > widths[widest]))
                widest = i;
        if (widest == columns.size()) return;
        --widths[widest];
    }
}

std::string line_of(const std::vector<std::string>& cells, const std::vector<Column>& columns,
                    const std::vector<std::size_t>& widths, const DrawingStyle& style) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (widths[i] == 0) continue;
        if (!line.empty()) line += std::string(kGap, ' ');
        const std::size_t needed = columns_of(cells[i]);
        if (columns[i].right && needed < widths[i])
            line += std::string(widths[i] - needed, ' ') + cells[i];
        else
            line += fitted(cells[i], widths[i], style.charset);
    }
    while (!line.empty() && line.back() == ' ')
        line.pop_back();
    return line + "\n";
}

}  // namespace

std::size_t table_columns(const std::vector<Column>& columns, const std::vector<Row>& rows,
                          const DrawingStyle& style) {
    return total_of(natural_widths(columns, rows, style));
}

std::string draw_table(const std::vector<Column>& columns, const std::vector<Row>& rows,
                       const DrawingStyle& style) {
    std::vector<std::size_t> widths = natural_widths(columns, rows, style);
    narrow(widths, columns, style.columns);
    std::vector<std::string> cells;
    for (const Column& column : columns)
        cells.push_back(column.head);
    std::string text = line_of(cells, columns, widths, style);
    if (style.colors) text = "\033[1m" + text.substr(0, text.size() - 1) + "\033[0m\n";
    for (const Row& row : rows) {
        for (std::size_t i = 0; i < columns.size(); ++i)
            cells[i] = cell(row, i, style);
        text += line_of(cells, columns, widths, style);
        for (const std::string& remark : row.remarks)
            text += std::string(2 * kGap, ' ') + printable(remark, style.charset) + "\n";
    }
    return text;
}

}  // namespace dupengine::cli

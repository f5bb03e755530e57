#include "moehill/base/streamed_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace moehill {

StreamedTable::StreamedTable(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.width = std::max(column.width, column.name.size());
}

std::string StreamedTable::header() const {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  return row(names);
}

std::string StreamedTable::row(const std::vector<std::string>& cells) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const size_t width = columns_.at(i).width;
    line += i == 0 ? fmt::format("{:<{}}", cells[i], width) : fmt::format("  {:>{}}", cells[i], width);
  }
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace moehill

// A table whose rows are printed as they come. The widths of its columns are given beforehand, since nobody
// knows the rows that follow.
#pragma once

#include <string>
#include <vector>

namespace moehill {

class StreamedTable {
 public:
  struct Column {
    std::string name;
    size_t width = 0;  // the least width; a longer name needs more
  };
  explicit StreamedTable(std::vector<Column> columns);

  // Both return a line as format_table() makes them: the first column is aligned to the left, the others to
  // the right.
  std::string header() const;
  std::string row(const std::vector<std::string>& cells) const;

 private:
  std::vector<Column> columns_;
};

}  // namespace moehill

// A table whose rows are printed as they come: its columns are as wide as they were said to be, since nobody
// knows the rows that follow.
#pragma once

#include <string>
#include <vector>

namespace moehill {

class StreamedTable {
 public:
  struct Column {
    std::string name;
    size_t width = 0;  // at least; that of the name, if that is more
  };
  explicit StreamedTable(std::vector<Column> columns);

  // Lines as format_table() has them: the first column to the left, the others to the right.
  std::string header() const;
  std::string row(const std::vector<std::string>& cells) const;

 private:
  std::vector<Column> columns_;
};

}  // namespace moehill

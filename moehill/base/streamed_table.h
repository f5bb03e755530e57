// StreamedTable is a table whose rows are printed one by one, as soon as they are measured. The caller gives
// the widths of the columns beforehand, because the later rows are not known yet. If all rows are known, use
// format_table() (base/table.h).
//
//   StreamedTable table({{"tokens", 8}, {"seconds", 10}});
//   std::cout << table.header();
//   std::cout << table.row({"1024", "0.0123"});   // as soon as it is known
#pragma once

#include <string>
#include <vector>

namespace moehill {

class StreamedTable {
 public:
  struct Column {
    std::string name;
    size_t width = 0;  // the least width; the column is wider if its name is longer
  };
  explicit StreamedTable(std::vector<Column> columns);

  // Both return one line with its end. The first column is aligned to the left and the others to the right,
  // as in format_table().
  std::string header() const;
  std::string row(const std::vector<std::string>& cells) const;

 private:
  std::vector<Column> columns_;
};

}  // namespace moehill

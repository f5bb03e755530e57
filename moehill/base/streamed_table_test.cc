#include "moehill/base/streamed_table.h"

#include <gtest/gtest.h>

#include "moehill/base/table.h"

namespace moehill {
namespace {

TEST(StreamedTable, IsTheTableOfRowsAsWideAsSaid) {
  const StreamedTable table({{"group", 8}, {"GF/s", 0}, {"x", 3}});
  const std::vector<std::string> a = {"bf16 34", "12.5", "7"}, b = {"f32 1092", "1.25", "100"};
  EXPECT_EQ(table.header() + table.row(a) + table.row(b), format_table({"group", "GF/s", "x"}, {a, b}));
  EXPECT_EQ(table.row({"longer than said", "1", ""}), "longer than said     1\n");
}

}  // namespace
}  // namespace moehill

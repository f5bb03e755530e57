// Compares the FLOP formula with the reference logbook: TF/s = tokens/s * FLOPs per token / 1e12.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "moehill/block/shape.h"

namespace moehill {
namespace {

using Row = std::map<std::string, std::string>;

std::vector<std::string> split(std::string line) {
  if (line.ends_with('\r')) line.pop_back();  // the file has DOS line ends
  std::vector<std::string> fields;
  std::istringstream stream(line + ",");
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
  return fields;
}

// The logbook has no quoted field, and no comma inside a field.
std::vector<Row> read_csv(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = split(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = split(line);
    EXPECT_EQ(fields.size(), names.size()) << line;
    Row row;
    for (size_t i = 0; i < std::min(names.size(), fields.size()); ++i) row[names[i]] = fields[i];
    rows.push_back(row);
  }
  return rows;
}

MoeShape shape_of(const Row& row) {
  const auto number = [&](const char* name) { return std::stoll("0" + row.at(name)); };
  MoeShape shape;
  shape.tokens = number("tokens");
  shape.hidden = number("hidden");
  shape.mlp_dim = number("mlp_dim");
  shape.experts = static_cast<int>(number("experts"));
  shape.topk = static_cast<int>(number("topk"));
  shape.shared_dim = number("shared");
  return shape;
}

TEST(ModelFlops, AgreeWithTheReferenceLogbook) {
  int num_compared = 0;
  for (const Row& row : read_csv(MOEHILL_SOURCE_DIR "/reference/tpu_v5p_logbook.csv")) {
    if (row.at("tflops").empty() || row.at("tokens_per_s").empty()) continue;
    const MoeShape shape = shape_of(row);
    ASSERT_TRUE(row.at("pass") == "forward" || row.at("pass") == "forward_backward") << row.at("pass");
    const Pass pass = row.at("pass") == "forward" ? Pass::forward : Pass::forward_backward;
    const double flops_per_token =
        model_flops(shape, pass, shape.assignments()) / static_cast<double>(shape.tokens);
    const double tflops = std::stod(row.at("tokens_per_s")) * flops_per_token / 1e12;
    EXPECT_NEAR(tflops / std::stod(row.at("tflops")), 1.0, 1e-4)
        << row.at("section") << ": " << to_string(shape);
    ++num_compared;
  }
  EXPECT_EQ(num_compared, 36);
}

TEST(ModelFlops, LeaveOutDroppedAssignments) {
  const MoeShape shape{10, 3, 5, 4, 2, 7, DType::f32};
  EXPECT_DOUBLE_EQ(model_flops(shape, Pass::forward, 20), 6.0 * 20 * 3 * 5 + 6.0 * 10 * 3 * 7);
  EXPECT_DOUBLE_EQ(model_flops(shape, Pass::forward, 17), 6.0 * 17 * 3 * 5 + 6.0 * 10 * 3 * 7);
  EXPECT_DOUBLE_EQ(model_flops(shape, Pass::forward_backward, 17), 3 * model_flops(shape, Pass::forward, 17));
}

}  // namespace
}  // namespace moehill

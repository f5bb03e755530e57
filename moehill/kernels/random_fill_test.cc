// Random tensors: the documented formula, the moments, and the same values however the work is cut.
#include "moehill/kernels/random_fill.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace moehill {
namespace {

double expected(uint32_t seed, Stream stream, uint64_t i) {
  const auto [a, b] = threefry(seed, stream, i / 2);
  const double angle = 6.283185307179586 * uniform_from_bits(b);
  return std::sqrt(-2 * std::log(uniform_from_bits(a))) * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

TEST(RandomFill, FollowsItsFormulaFromAnyStart) {
  for (uint64_t first : {uint64_t{0}, uint64_t{7}, (uint64_t{1} << 33) - 5}) {
    std::vector<float> row(101);
    random_row(3, Stream::kW1, first, 101, 2.0f, row.data());
    for (uint64_t i = 0; i < row.size(); ++i) {
      EXPECT_NEAR(row[i], 2 * expected(3, Stream::kW1, first + i), 1e-5) << first << " + " << i;
    }
  }
}

TEST(RandomFill, IsStandardNormal) {
  std::vector<float> row(1 << 20);
  random_row(1, Stream::kX, 0, 1 << 20, 1, row.data());
  double sum = 0, square = 0, fourth = 0;
  for (double v : row) {
    sum += v;
    square += v * v;
    fourth += v * v * v * v;
  }
  const double n = static_cast<double>(row.size());
  EXPECT_NEAR(sum / n, 0, 0.004);
  EXPECT_NEAR(square / n, 1, 0.006);
  EXPECT_NEAR(fourth / n, 3, 0.04);
}

TEST(RandomFill, WeightsDoNotDependOnThreadsLayoutOrShard) {
  constexpr int64_t kGroups = 3, kRows = 5, kColumns = 21;
  ThreadTeam one(1), four(4);
  WeightStack whole(WeightLayout::row_major, kGroups, kRows, kColumns, DType::bf16);
  fill_normal(one, 9, Stream::kW3, 0.5f, LogicalWeights{whole, LogicalWeights::Part::all, kColumns}, 0);
  WeightStack shard(WeightLayout::panels, 2, kRows, gate_up_columns(kColumns), DType::bf16);
  const LogicalWeights up{shard, LogicalWeights::Part::up, kColumns};
  fill_normal(four, 9, Stream::kW3, 0.5f, up, 1);
  for (int64_t g = 0; g < 2; ++g) {
    for (int64_t k = 0; k < kRows; ++k) {
      for (int64_t n = 0; n < kColumns; ++n) EXPECT_EQ(up.at(g, k, n), whole.view().at(g + 1, k, n));
    }
  }
}

}  // namespace
}  // namespace moehill

// Tests random tensors: the documented formula, the moments, and equal bits on every SIMD target, however the
// work is divided.
#include "moehill/kernels/random_fill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "moehill/kernels/simd.h"

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

TEST(RandomFill, FollowsItsFormulaInManyElements) {
  std::vector<float> row(1 << 20);
  random_row(5, Stream::kX, 0, 1 << 20, 1, row.data());
  double worst = 0;
  for (uint64_t i = 0; i < row.size(); ++i) {
    worst = std::max(worst, std::abs(row[i] - expected(5, Stream::kX, i)));
  }
  EXPECT_LT(worst, 2e-6);
}

std::vector<float> rows_from_odd_places() {
  std::vector<float> all;
  for (const int64_t n : {1, 2, 3, 7, 8, 15, 17, 33, 4095, 4097, 1 << 18}) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{12345}, (uint64_t{1} << 33) - 5}) {
      std::vector<float> row(static_cast<size_t>(n));
      random_row(11, Stream::kX, first, n, 0.37f, row.data());
      all.insert(all.end(), row.begin(), row.end());
    }
  }
  return all;
}

std::vector<float> x_and_weights(DType dtype) {
  ThreadTeam team(2);
  const Matrix x(7, 33, dtype);
  fill_normal(team, 4, Stream::kX, 1, x.view(), 3);
  const WeightStack stack(WeightLayout::panels, 3, 19, gate_up_columns(21), dtype);
  const LogicalWeights w{stack, LogicalWeights::Part::gate, 21};
  fill_normal(team, 4, Stream::kW1, 0.1f, w, 5);
  std::vector<float> all;
  for (int64_t r = 0; r < 7; ++r) {
    for (int64_t c = 0; c < 33; ++c) all.push_back(x.view().at(r, c));
  }
  for (int64_t i = 0; i < 3 * 19; ++i) {
    for (int64_t n = 0; n < 21; ++n) all.push_back(w.at(i / 19, i % 19, n));
  }
  return all;
}

// Returns the FNV-1a hash of the bits.
uint64_t hash_of(const std::vector<float>& values) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const float value : values) hash = (hash ^ std::bit_cast<uint32_t>(value)) * 0x100000001b3u;
  return hash;
}

struct BestTargetAfterwards {
  ~BestTargetAfterwards() { select_simd_target(""); }
};

// The hash is equal on every machine: operands of a seed never change.
TEST(RandomFill, IsTheSameBitForBitOnEveryTarget) {
  const BestTargetAfterwards restore;
  const std::vector<float> f32 = x_and_weights(DType::f32), bf16 = x_and_weights(DType::bf16);
  for (const std::string& target : simd_targets()) {
    select_simd_target("");
    select_simd_target(target);
    EXPECT_EQ(simd_target(), target);
    EXPECT_EQ(hash_of(rows_from_odd_places()), 0x11566f2537a47161u) << target;
    EXPECT_TRUE(x_and_weights(DType::f32) == f32) << target;
    EXPECT_TRUE(x_and_weights(DType::bf16) == bf16) << target;
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

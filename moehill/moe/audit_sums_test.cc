// The audit must pass sums as f32 makes them, one term after the other, and must see products of operands
// that have fewer bits than f32.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "moehill/moe/audit.h"
#include "moehill/moe/block_fixture.h"

namespace moehill {
namespace {

// DeepSums is one expert in f32 whose first products are sums over a depth of 2048.
class DeepSums : public testing::Test {
 protected:
  TensorAudit audit_y(uint32_t seed) {
    const AuditResult result =
        audit_block(CheckShare::whole(block_.tensors()), Pass::forward, {false, seed}, team_);
    return result.tensors.front();
  }
  // Returns the columns of a matrix as rows.
  static Dense<float> columns_of(const LogicalWeights& w) {
    Dense<float> columns(w.num_columns, w.rows());
    for (int64_t n = 0; n < w.num_columns; ++n) {
      for (int64_t r = 0; r < w.rows(); ++r) columns.row(n)[r] = w.at(0, r, n);
    }
    return columns;
  }
  // Adds the products one after the other.
  static float chain(const float* a, const float* b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
  }

  ThreadTeam team_{2};
  BlockFixture block_{MoeShape{128, 2048, 32, 1, 1, 0, DType::f32}};
};

TEST_F(DeepSums, ThatF32MakesTermByTermPass) {
  const BlockTensors t = block_.tensors();
  const int64_t hidden = t.shape.hidden, width = t.shape.mlp_dim;
  const Dense<float> w1 = columns_of(t.weights.w1), w3 = columns_of(t.weights.w3),
                     w2 = columns_of(t.weights.w2);
  std::vector<float> x(static_cast<size_t>(hidden)), h(static_cast<size_t>(width));
  for (int64_t token = 0; token < t.shape.tokens; ++token) {
    read_row(t.x, token, x.data());
    for (int64_t m = 0; m < width; ++m) {
      const float g = chain(x.data(), w1.row(m), hidden), u = chain(x.data(), w3.row(m), hidden);
      h[idx(m)] = g / (1 + std::exp(-g)) * u;
    }
    for (int64_t c = 0; c < hidden; ++c) t.y.set(token, c, chain(h.data(), w2.row(c), width));
  }
  for (uint32_t seed = 0; seed < 5; ++seed) {
    const TensorAudit y = audit_y(seed);
    EXPECT_EQ(y.failure, "");
    EXPECT_LT(y.numbers.mean_square(), 0.5);
    EXPECT_LT(y.numbers.worst(), 5);
  }
}

// Rounds to 17 bits of precision. Two bf16 numbers, or three bytes, have no more.
float rounded_to_17_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x3fu + ((bits >> 7) & 1u)) & ~0x7fu);
}

void round_matrix(const LogicalWeights& w) {
  for (int64_t r = 0; r < w.rows(); ++r) {
    for (int64_t n = 0; n < w.num_columns; ++n) w.set(0, r, n, rounded_to_17_bits(w.at(0, r, n)));
  }
}

TEST_F(DeepSums, OfOperandsWith17BitsAreSeen) {
  const BlockTensors t = block_.tensors();
  BlockFixture fewer(t.shape);  // has the same operands
  const BlockTensors of_fewer = fewer.tensors();
  for (int64_t token = 0; token < t.shape.tokens; ++token) {
    for (int64_t c = 0; c < t.shape.hidden; ++c)
      of_fewer.x.set(token, c, rounded_to_17_bits(of_fewer.x.at(token, c)));
  }
  for (const LogicalWeights* w : {&of_fewer.weights.w1, &of_fewer.weights.w3}) round_matrix(*w);
  fewer.store_output(team_);
  for (int64_t token = 0; token < t.shape.tokens; ++token) {
    for (int64_t c = 0; c < t.shape.hidden; ++c) t.y.set(token, c, of_fewer.y.at(token, c));
  }
  for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_NE(audit_y(seed).failure, "") << seed;
}

}  // namespace
}  // namespace moehill

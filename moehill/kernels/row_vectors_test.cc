// Compares sums and inner products with vectors with plain sums, for odd sizes, gaps between groups, empty
// groups and rows that are not there.
#include "moehill/kernels/row_vectors.h"

#include <gtest/gtest.h>

#include <vector>

#include "moehill/kernels/activation.h"

namespace moehill {
namespace {

constexpr int64_t kColumns = 37, kRows = 11;

float value(int64_t r, int64_t c) { return static_cast<float>((r * 7 + c * 3) % 11 - 5); }

Matrix filled(int64_t rows, int64_t cols, DType dtype) {
  Matrix m(rows, cols, dtype);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) m.view().set(r, c, value(r, c));
  }
  return m;
}

WeightStack vectors(int64_t groups, int64_t n, float fill) {
  WeightStack stack(WeightLayout::row_major, groups, 1, vector_columns(n), DType::f32);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < stack.view().n; ++i) stack.view().set(g, 0, i, i < n ? fill + value(g, i) : fill);
  }
  return stack;
}

const std::vector<int64_t> kGroupOffset = {0, 4, 4, 11};  // the second group is empty

class RowVectors : public testing::TestWithParam<DType> {
 protected:
  ThreadTeam team_{3};
  Matrix rows_ = filled(kRows, kColumns, GetParam());
  std::vector<int32_t> index_ = {3, 0, -1, 10, 1, 2, 9, 4, 4, 8, 7};
};
INSTANTIATE_TEST_SUITE_P(Each, RowVectors, testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return dtype_name(test.param); });

TEST_P(RowVectors, SumsOfGroupsAreWeightedAndCoverTheirPadding) {
  std::vector<float> weight;
  for (int64_t r = 0; r < kRows; ++r) weight.push_back(0.5f * static_cast<float>(r));
  WeightStack out = vectors(4, kColumns, 9);  // stale values must not survive, but those of no group do
  sum_rows(team_, kGroupOffset, {{rows_, index_.data(), 2}, weight.data(), kColumns}, out);
  for (int64_t c = 0; c < kColumns; ++c) EXPECT_EQ(out.view().at(3, 0, c), 9 + value(3, c)) << c;
  for (int64_t g = 0; g < 3; ++g) {
    for (int64_t c = 0; c < out.view().n; ++c) {
      float sum = 0;
      for (int64_t r = kGroupOffset[static_cast<size_t>(g)]; r < kGroupOffset[static_cast<size_t>(g) + 1];
           ++r) {
        const int32_t from = index_[static_cast<size_t>(r)];
        if (from >= 0 && c < kColumns) sum += 2 * weight[static_cast<size_t>(r)] * value(from, c);
      }
      EXPECT_EQ(out.view().at(g, 0, c), sum) << g << " " << c;
    }
  }
}

TEST_P(RowVectors, SumsOfInterleavedColumnsAreThoseOfOneHalf) {
  const int64_t width = 13;
  const Matrix both = filled(kRows, gate_up_columns(width), GetParam());
  const GateUpView view = interleaved_gate_up(both, width);
  WeightStack out = vectors(3, width, 9);
  sum_rows(team_, kGroupOffset, {{view.up}, nullptr, width, view.block_stride}, out);
  for (int64_t c = 0; c < width; ++c) {
    float sum = 0;
    for (int64_t r = 4; r < kRows; ++r) sum += value(r, up_column(c));
    EXPECT_EQ(out.view().at(2, 0, c), sum) << c;
    EXPECT_EQ(out.view().at(1, 0, c), 0) << c;
  }
}

TEST_P(RowVectors, InnerProductsAreAddedWhereTheirRowsBelong) {
  const WeightStack w = vectors(3, kColumns, 1);
  std::vector<int32_t> places = {10, 9, 8, -1, 6, 5, 4, 3, 2, 1, 0};
  std::vector<float> out(kRows, 100);
  add_vector_dots(team_, kGroupOffset, {{rows_, index_.data(), 0.5f}, w, places.data()}, out.data());
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t place = places[static_cast<size_t>(r)], from = index_[static_cast<size_t>(r)];
    if (place < 0) continue;
    float sum = 0;
    for (int64_t c = 0; from >= 0 && c < kColumns; ++c)
      sum += value(from, c) * w.view().at(r < 4 ? 0 : 2, 0, c);
    EXPECT_EQ(out[static_cast<size_t>(place)], 100 + 0.5f * sum) << r;
  }
  EXPECT_EQ(out[7], 100);
}

TEST_P(RowVectors, RowsAreScaledAndAnOuterProductIsAdded) {
  const WeightStack w = vectors(1, kColumns, 1);
  std::vector<float> factor;
  for (int64_t r = 0; r < kRows; ++r) factor.push_back(static_cast<float>(r % 4));
  scale_rows(team_, factor.data(), rows_);
  add_outer(team_, factor.data(), w, rows_);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kColumns; ++c) {
      const float f = factor[static_cast<size_t>(r)];
      EXPECT_EQ(rows_.view().at(r, c), f * value(r, c) + f * w.view().at(0, 0, c)) << r << " " << c;
    }
  }
}

}  // namespace
}  // namespace moehill

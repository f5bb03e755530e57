#include "moehill/tensor/matrix.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

class MatrixOfType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, MatrixOfType, testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return dtype_name(test.param); });

TEST_P(MatrixOfType, RowsStartOnLinesAndKeepTheirValues) {
  for (const int64_t cols : {1, 15, 16, 17, 32, 33}) {
    const Matrix matrix(5, cols, GetParam());
    const MatView& view = matrix.view();
    EXPECT_EQ(view.stride * static_cast<int64_t>(dtype_bytes(GetParam())) % 64, 0);
    EXPECT_GE(view.stride, cols);
    EXPECT_LT(view.stride - cols, 64 / static_cast<int64_t>(dtype_bytes(GetParam())));
    // Integers up to 256 are exact in bf16.
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t c = 0; c < cols; ++c) view.set(r, c, static_cast<float>(r * cols + c));
    }
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t c = 0; c < cols; ++c) EXPECT_EQ(view.at(r, c), static_cast<float>(r * cols + c));
    }
  }
}

TEST_P(MatrixOfType, ASliceOfRowsSharesTheMemory) {
  const Matrix matrix(6, 3, GetParam());
  const MatView part = matrix.view().slice_rows(2, 5);
  EXPECT_EQ(part.rows, 3);
  EXPECT_EQ(part.cols, 3);
  part.set(0, 1, 42);
  EXPECT_EQ(matrix.view().at(2, 1), 42);
  EXPECT_EQ(matrix.view().slice_rows(6, 6).rows, 0);
}

TEST(MatrixDeathTest, RowsOutsideAreABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Matrix matrix(6, 3, DType::f32);
  EXPECT_DEATH((void)matrix.view().slice_rows(5, 7), "rows 5 to 7 of 6");
  EXPECT_DEATH((void)matrix.view().slice_rows(3, 2), "rows 3 to 2 of 6");
}

}  // namespace
}  // namespace moehill

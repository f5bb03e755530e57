#include "moehill/moe/row_comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace moehill {
namespace {

constexpr float kNoRow = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

TEST(RowComparison, OneBadRowAmongManyDecides) {
  RowComparison rows;
  for (int64_t r = 0; r < 50000; ++r) rows.add_row(r, Floats{3, r == 31234 ? 4.5f : 4.0f}, Doubles{3, 4});
  EXPECT_DOUBLE_EQ(rows.result().rel_err, 0.1);
  EXPECT_EQ(rows.result().worst_index, 31234);
  EXPECT_FALSE(rows.result().zero_reference);
}

TEST(RowComparison, SmallRowsAreMeasuredByTheFloor) {
  for (const double share : {RowComparison::kUsualFloor, RowComparison::kMedianFloor}) {
    RowComparison rows(share);
    for (int64_t r = 0; r < 5; ++r) rows.add_row(r, Floats{2}, Doubles{2});
    rows.add_row(5, Floats{1e-3f}, Doubles{1e-6});
    EXPECT_NEAR(rows.result().rel_err, (1e-3 - 1e-6) / (share * 2), 1e-6);
    EXPECT_EQ(rows.result().worst_index, 5);
  }
}

TEST(RowComparison, ZeroRowsDoNotLowerTheMedianAndMustBeZero) {
  RowComparison rows(RowComparison::kMedianFloor);
  for (int64_t r = 0; r < 10; ++r) rows.add_row(r, Floats{0, -0.0f}, Doubles{0, 0});
  rows.add_row(10, Floats{0, 4}, Doubles{0, 4});
  EXPECT_EQ(rows.result().rel_err, 0);
  rows.add_row(11, Floats{0, 2}, Doubles{0, 1});
  EXPECT_DOUBLE_EQ(rows.result().rel_err, 0.25);
  rows.add_row(12, Floats{0, 1e-30f}, Doubles{0, 0});
  EXPECT_EQ(rows.result().rel_err, std::numeric_limits<double>::infinity());
  EXPECT_EQ(rows.result().worst_index, 12);
}

TEST(RowComparison, NothingToCompareIsSaid) {
  RowComparison rows;
  EXPECT_TRUE(rows.result().zero_reference);
  EXPECT_EQ(rows.result().worst_index, -1);
  rows.add_row(3, Floats{0}, Doubles{0});
  EXPECT_TRUE(rows.result().zero_reference);
  EXPECT_EQ(rows.result().rel_err, 0);
  rows.add_row(4, Floats{1}, Doubles{1});
  EXPECT_FALSE(rows.result().zero_reference);
}

TEST(RowComparison, WhatIsNotANumberIsInfinitelyWrong) {
  for (const float bad : {kNoRow, kInf, -kInf}) {
    RowComparison rows;
    rows.add_row(0, Floats{1, 1}, Doubles{1, 1});
    rows.add_row(1, Floats{1, bad}, Doubles{1, 1});
    rows.add_row(2, Floats{1, 1}, Doubles{1, 1});
    EXPECT_EQ(rows.result().rel_err, std::numeric_limits<double>::infinity());
    EXPECT_EQ(rows.result().worst_index, 1);
    RowComparison references;
    references.add_row(0, Floats{1}, Doubles{1});
    references.add_row(1, Floats{bad}, Doubles{static_cast<double>(bad)});
    EXPECT_EQ(references.result().worst_index, 1);
    EXPECT_GT(references.result().rel_err, 1);
  }
}

}  // namespace
}  // namespace moehill

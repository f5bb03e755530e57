// Tests the layouts of weights: each element has one place, groups can be sliced, and padding stays zero.
#include "moehill/tensor/weight_stack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

namespace moehill {
namespace {

using Case = std::tuple<WeightLayout, DType>;

class WeightStackOf : public testing::TestWithParam<Case> {
 protected:
  WeightStack make(int64_t num_groups, int64_t k, int64_t n) const {
    return WeightStack(std::get<0>(GetParam()), num_groups, k, n, std::get<1>(GetParam()));
  }
};
INSTANTIATE_TEST_SUITE_P(Layouts, WeightStackOf,
                         testing::Combine(testing::Values(WeightLayout::panels, WeightLayout::row_major),
                                          testing::Values(DType::f32, DType::bf16)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == WeightLayout::panels
                                                  ? "panels_"
                                                  : "row_major_") +
                                  dtype_name(std::get<1>(test.param));
                         });

// Every (group, row, column) has a place of its own inside the buffer; with padded rows and columns counted,
// all places are used.
TEST_P(WeightStackOf, IndexIsABijection) {
  for (const int64_t n : {1, 7, 8, 9, 16, 17, 40, 48}) {
    const WeightStack stack = make(3, 5, n);
    const WeightView& view = stack.view();
    const bool panels = view.layout == WeightLayout::panels;
    const int64_t columns = panels ? view.num_panels() * kPanelWidth : n;
    const int64_t rows = panels ? view.panel_rows() : 5;
    EXPECT_EQ(rows, panels && view.dtype == DType::bf16 ? 6 : 5);
    std::vector<int> hits(static_cast<size_t>(3 * view.group_elements()), 0);
    EXPECT_EQ(view.bytes(), hits.size() * dtype_bytes(view.dtype));
    for (int64_t g = 0; g < 3; ++g) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          const int64_t i = view.index(g, r, c);
          ASSERT_GE(i, g * view.group_elements());
          ASSERT_LT(i, (g + 1) * view.group_elements());
          ++hits[static_cast<size_t>(i)];
        }
      }
    }
    EXPECT_TRUE(std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; })) << "n = " << n;
  }
}

TEST_P(WeightStackOf, KeepsValuesAndSlicesGroups) {
  const WeightStack stack = make(4, 3, 5);
  for (int64_t g = 0; g < 4; ++g) {
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < 5; ++c) stack.view().set(g, r, c, static_cast<float>(g * 15 + r * 5 + c));
    }
  }
  const WeightView part = stack.view().slice_groups(1, 3);
  EXPECT_EQ(part.num_groups, 2);
  for (int64_t g = 0; g < 2; ++g) {
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t c = 0; c < 5; ++c)
        EXPECT_EQ(part.at(g, r, c), static_cast<float>((g + 1) * 15 + r * 5 + c));
    }
  }
}

TEST_P(WeightStackOf, GateAndUpPartsAreSeparateAndLeaveThePaddingZero) {
  constexpr int64_t kMlpDim = 11;
  const WeightStack stack = make(2, 3, gate_up_columns(kMlpDim));
  const LogicalWeights gate{stack.view(), LogicalWeights::Part::gate, kMlpDim};
  const LogicalWeights up{stack.view(), LogicalWeights::Part::up, kMlpDim};
  for (int64_t g = 0; g < 2; ++g) {
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t m = 0; m < kMlpDim; ++m) {
        gate.set(g, r, m, static_cast<float>(1 + m + 20 * r));
        up.set(g, r, m, -static_cast<float>(1 + m + 20 * r));
      }
    }
  }
  int64_t num_zero = 0;
  for (int64_t g = 0; g < 2; ++g) {
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t m = 0; m < kMlpDim; ++m) {
        EXPECT_EQ(gate.at(g, r, m), static_cast<float>(1 + m + 20 * r));
        EXPECT_EQ(up.at(g, r, m), -gate.at(g, r, m));
      }
      for (int64_t c = 0; c < stack.view().n; ++c) num_zero += stack.view().at(g, r, c) == 0;
    }
  }
  EXPECT_EQ(num_zero, 2 * 3 * (gate_up_columns(kMlpDim) - 2 * kMlpDim));
}

TEST(GateUp, ColumnsAlternateInBlocksOfEightAndPair) {
  EXPECT_EQ(gate_up_columns(8), 16);
  EXPECT_EQ(gate_up_columns(9), 32);
  EXPECT_EQ(gate_up_columns(1408), 2816);
  for (const int64_t mlp_dim : {1, 8, 9, 100}) {
    std::set<int64_t> columns;
    for (int64_t m = 0; m < mlp_dim; ++m) {
      EXPECT_EQ(gate_column(m) / kPanelWidth, up_column(m) / kPanelWidth) << "both factors in one panel";
      EXPECT_EQ(gate_column(m) / kPanelWidth, m / kGateUpWidth);
      columns.insert({gate_column(m), up_column(m)});
    }
    EXPECT_EQ(columns.size(), static_cast<size_t>(2 * mlp_dim));
    EXPECT_LT(*columns.rbegin(), gate_up_columns(mlp_dim));
  }
}

// Kernels rely on this: one 32-bit lane of a bf16 panel holds the rows k and k + 1 of a column.
TEST(Panels, ABf16LaneHoldsTwoRowsOfAColumn) {
  const WeightStack stack(WeightLayout::panels, 2, 7, 40, DType::bf16);
  const WeightView& w = stack.view();
  for (int64_t c = 0; c < kPanelWidth; ++c) {
    EXPECT_EQ(w.index(0, 0, c), 2 * c);
    EXPECT_EQ(w.index(0, 1, c), 2 * c + 1);
    EXPECT_EQ(w.index(0, 6, c), 6 * kPanelWidth + 2 * c) << "its partner is the padding";
  }
  EXPECT_EQ(w.index(0, 0, 16), 8 * kPanelWidth);
  EXPECT_EQ(w.index(1, 0, 0), 3 * 8 * kPanelWidth);
}

// A kernel streams panel p from its first row to its last.
TEST(Panels, RowsOfAPanelFollowEachOther) {
  const WeightStack stack(WeightLayout::panels, 2, 5, 40, DType::f32);
  EXPECT_EQ(stack.view().index(0, 0, 16), 5 * kPanelWidth);
  EXPECT_EQ(stack.view().index(0, 3, 16) - stack.view().index(0, 2, 16), kPanelWidth);
  EXPECT_EQ(stack.view().index(1, 0, 0), 3 * 5 * kPanelWidth);
}

TEST(WeightStackDeathTest, GroupsOutsideAreABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const WeightStack stack(WeightLayout::panels, 2, 5, 40, DType::f32);
  EXPECT_DEATH((void)stack.view().slice_groups(1, 3), "groups 1 to 3 of 2");
}

}  // namespace
}  // namespace moehill

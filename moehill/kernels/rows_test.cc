// Row operations leave out what their indices leave out. (The tests of the oracle check their results.)
#include "moehill/kernels/rows.h"

#include <gtest/gtest.h>

#include <vector>

namespace moehill {
namespace {

TEST(RowDots, SkipsARowWithoutAPartnerOrAPlace) {
  ThreadTeam team(2);
  Matrix a = Matrix::tight(3, 5, DType::f32), b = Matrix::tight(2, 5, DType::f32);
  for (int64_t c = 0; c < 5; ++c) {
    for (int64_t r = 0; r < 3; ++r) a.view().set(r, c, static_cast<float>(r + 1));
    for (int64_t r = 0; r < 2; ++r) b.view().set(r, c, static_cast<float>(10 * (r + 1)));
  }
  const std::vector<int32_t> index_b = {1, -1, 0}, out_index = {2, 0, -1};
  std::vector<float> out(3, -7);
  row_dots(team, {a, b, index_b.data(), out_index.data(), 0.5f}, 3, out.data());
  EXPECT_EQ(out, (std::vector<float>{-7, -7, 0.5f * 5 * 20}));
}

}  // namespace
}  // namespace moehill

#include "moehill/moe/part_hashes.h"

#include <gtest/gtest.h>

#include <cstring>

#include "moehill/moe/block_fixture.h"

namespace moehill {
namespace {

class PartHashesTest : public testing::TestWithParam<bool> {
 protected:
  std::vector<PartHashes> hashes() { return hash_parts(fixture_.tensors(), Pass::forward_backward, team_); }

  void negate_x() {
    const MatView x = fixture_.tensors().x;
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < x.cols; ++c) x.set(r, c, -x.at(r, c));
    }
    fixture_.store_oracle(team_);
  }

  ThreadTeam team_{2};
  BlockFixture fixture_{{50, 40, 36, 5, 2, 24, DType::bf16}, {WeightLayout::panels, GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(GateUp, PartHashesTest, testing::Bool());

TEST_P(PartHashesTest, OtherTokensHaveNoPartInCommonAndTheSameTokensAll) {
  fixture_.store_oracle(team_);
  const auto before = hashes();
  EXPECT_NE(equal_part(before, hashes()), "");
  negate_x();
  EXPECT_EQ(equal_part(before, hashes()), "");
}

// The results of -x, but for one part of those of x.
TEST_P(PartHashesTest, EachPartThatWasKeptIsNamed) {
  fixture_.store_oracle(team_);
  const auto before = hashes();
  const BlockTensors t = fixture_.tensors();
  const auto row_of = [](const MatView& m) {
    std::vector<float> row;
    for (int64_t c = 0; c < m.cols; ++c) row.push_back(m.at(17, c));
    return row;
  };
  const std::vector<float> y = row_of(t.y), dx = row_of(t.dx);
  const auto expert_of = [](const WeightView& w, int64_t group) {
    const char* data = static_cast<const char*>(w.data);
    const int64_t bytes = w.group_elements() * 2;
    return std::vector<char>(data + group * bytes, data + (group + 1) * bytes);
  };
  const std::vector<char> dw1 = expert_of(t.gradients.w1.stack, 3), dw2 = expert_of(t.gradients.w2.stack, 4),
                          ds3 = expert_of(t.gradients.s3.stack, 0);
  const std::vector<float> dp = fixture_.dp();
  const auto expect_named = [&](const std::string& part) {
    EXPECT_EQ(equal_part(before, hashes()).rfind("part " + part, 0), 0u) << equal_part(before, hashes());
    fixture_.store_oracle(team_);
  };
  negate_x();
  for (int64_t c = 0; c < t.y.cols; ++c) t.y.set(17, c, y[static_cast<size_t>(c)]);
  expect_named("17 of y");
  for (int64_t c = 0; c < t.dx.cols; ++c) t.dx.set(17, c, dx[static_cast<size_t>(c)]);
  expect_named("17 of dx");
  fixture_.dp() = dp;
  expect_named("0 of dp");
  std::memcpy(static_cast<char*>(t.gradients.w1.stack.data) + 3 * dw1.size(), dw1.data(), dw1.size());
  expect_named("3 of dw1");
  std::memcpy(static_cast<char*>(t.gradients.w2.stack.data) + 4 * dw2.size(), dw2.data(), dw2.size());
  expect_named("4 of dw2");
  std::memcpy(t.gradients.s3.stack.data, ds3.data(), ds3.size());
  expect_named(GetParam() ? "0 of ds1" : "0 of ds3");
}

// An expert without tokens and a token without experts have zeros in both steps.
TEST_P(PartHashesTest, ZerosAreNoPartInCommon) {
  fixture_.kept().assign(fixture_.routing().expert.size(), 0);
  fixture_.store_oracle(team_);
  const auto before = hashes();
  negate_x();
  EXPECT_EQ(equal_part(before, hashes()), "");
}

}  // namespace
}  // namespace moehill

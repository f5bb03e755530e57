// Terms that are smaller than the rounding errors of their sums must not be left out, and right sums must
// pass.
#include "moehill/moe/audit_terms.h"

#include <gtest/gtest.h>

#include <cmath>

#include "moehill/moe/audit.h"
#include "moehill/moe/block_fixture.h"

namespace moehill {
namespace {

constexpr uint32_t kTermSeeds = 5;

// Returns why the audit refuses this tensor, or with "" any of the tensors; or "" if it does not.
std::string term_failure(const BlockFixture& block, const std::string& tensor, AuditOptions options,
                         ThreadTeam& team) {
  const AuditResult result =
      audit_block(CheckShare::whole(block.tensors()), Pass::forward_backward, options, team);
  for (const TensorAudit& found : result.tensors) {
    if (tensor.empty() ? !found.failure.empty() : found.tensor == tensor) return found.failure;
  }
  return tensor.empty() ? "" : "no such tensor";
}

// SmallGates is a block whose tokens have two large gate values and two below 2^-8, as --distribution runs
// makes them. A term of these is about as large as the rounding errors of its sum in bf16.
class SmallGates : public testing::Test {
 protected:
  SmallGates() {
    std::vector<float>& weight = block_.routing().weight;
    for (size_t a = 0; a < weight.size(); ++a) weight[a] = kGates[a % 4];
    block_.store_oracle(team_);
  }
  // While `store` makes results, each token's last two gate values are these.
  template <typename Store>
  void store_with(float third, float fourth, const Store& store) {
    std::vector<float>& weight = block_.routing().weight;
    const std::vector<float> right = weight;
    for (size_t t = 0; t < weight.size(); t += 4) weight[t + 2] = third, weight[t + 3] = fourth;
    store();
    weight = right;
  }
  void expect_terms_seen(const std::string& tensor) {
    const auto is_seen = [&](const std::string& failure) {
      return failure.rfind(tensor + " ", 0) == 0;  // by its terms, or at some seeds by the largest number
    };
    for (uint32_t seed = 0; seed < kTermSeeds; ++seed) {
      const std::string failure = term_failure(block_, tensor, {false, seed}, team_);
      EXPECT_TRUE(is_seen(failure)) << "seed " << seed << ": " << failure;
    }
    const std::string failure = term_failure(block_, tensor, {true, 0}, team_);
    EXPECT_TRUE(is_seen(failure)) << "every element: " << failure;
  }

  static constexpr float kGates[] = {0.6f, 0.39f, 0.0032f, 0.0011f};
  ThreadTeam team_{2};
  BlockFixture block_{MoeShape{512, 64, 32, 16, 4, 0, DType::bf16}};
};

TEST_F(SmallGates, RightSumsPass) {
  for (uint32_t seed = 0; seed < 4 * kTermSeeds; ++seed)
    EXPECT_EQ(term_failure(block_, "", {false, seed}, team_), "");
  EXPECT_EQ(term_failure(block_, "", {true, 0}, team_), "");
}

TEST_F(SmallGates, TermsOfYThatAreLeftOutAreSeen) {
  store_with(0, 0, [&] { block_.store_output(team_); });
  expect_terms_seen("y");
}

TEST_F(SmallGates, HalvedTermsOfYAreSeen) {
  store_with(kGates[2] / 2, kGates[3], [&] { block_.store_output(team_); });
  expect_terms_seen("y");
}

TEST_F(SmallGates, TermsOfDxThatAreLeftOutAreSeen) {
  store_with(0, 0, [&] { block_.store_gradients(team_); });
  expect_terms_seen("dx");
}

TEST_F(SmallGates, RowsThatWeightGradientsLeaveOutAreSeen) {
  store_with(0, 0, [&] { block_.store_gradients(team_); });
  for (const char* tensor : {"dw1", "dw2", "dw3"}) expect_terms_seen(tensor);
}

// Blocks of one token, of one expert, of one choice, of experts of one column, and of one number.
TEST(AuditTerms, RightResultsOfSmallBlocksPass) {
  ThreadTeam team(2);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const MoeShape shapes[] = {{1, 64, 32, 1, 1, 0, dtype}, {1, 5, 1, 1, 1, 0, dtype},
                               {3, 1, 1, 2, 1, 0, dtype},   {200, 64, 1, 1, 1, 0, dtype},
                               {200, 7, 1, 4, 2, 0, dtype}, {90, 40, 9, 5, 3, 4, dtype}};
    for (const MoeShape& shape : shapes) {
      BlockFixture block(shape);
      block.store_oracle(team);
      for (uint32_t seed = 0; seed < 4 * kTermSeeds; ++seed)
        EXPECT_EQ(term_failure(block, "", {seed % 5 == 0, seed}, team), "") << to_string(shape);
    }
  }
}

// PlantedTerms are the terms of 300 tokens with 32 blocks each, in numbers of size 1. Each sum lacks
// `missing` of the terms of one slot.
class PlantedTerms : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 300, kBlocks = 32;

  double normal(int64_t token, int slot, int64_t block) const {
    return random_normal(3, Stream::kX, static_cast<uint64_t>((token * 10 + slot) * kBlocks + block));
  }
  // Returns the common factor of each group. Errors have the variance 1, and terms are `factor` times size 1.
  std::vector<double> factors(double missing, int of_slot, double factor, double least = 0) const {
    const Projection by_hidden(2 * kBlocks, 2, 1);
    AuditTerms terms(shape_, by_hidden, 5);
    std::vector<Deviations> numbers(static_cast<size_t>(terms.num_group_numbers()));
    for (int64_t t = 0; t < kTokens; ++t) {
      std::vector<double> off(kBlocks), variance(kBlocks, 1.0), row(kBlocks);
      for (int64_t b = 0; b < kBlocks; ++b) off[idx(b)] = 0.5 * normal(t, 9, b);
      for (int slot = 0; slot < num_terms(shape_); ++slot) {
        for (int64_t b = 0; b < kBlocks; ++b) row[idx(b)] = normal(t, slot, b);
        terms.set({t, slot, std::ldexp(0.75, -slot)}, factor, row.data());
        for (int64_t b = 0; slot == of_slot && b < kBlocks; ++b)
          off[idx(b)] -= missing * factor * row[idx(b)];
      }
      terms.compare({t, off.data(), variance.data(), least}, numbers);
    }
    std::vector<double> all;
    const int64_t of_group = std::ssize(numbers) / num_term_groups(shape_);
    for (int64_t g = 0; g < num_term_groups(shape_); ++g) {
      Deviations group;
      for (int64_t c = 0; c < of_group; ++c) group.add(numbers[idx(g * of_group + c)]);
      all.push_back(group.common_factor());
    }
    return all;
  }

  const MoeShape shape_{.tokens = kTokens, .hidden = 2 * kBlocks, .experts = 4, .topk = 2, .shared_dim = 8};
};

// The slots are two choices and the shared expert; slot j has its gate values in octave j.
TEST_F(PlantedTerms, TheFactorTellsWhichTermsAreMissing) {
  for (int slot = 0; slot < 3; ++slot) {
    for (const double missing : {0.0, 0.5, 1.0}) {
      const std::vector<double> found = factors(missing, slot, 0.5);
      for (int other = 0; other < 3; ++other) {
        const double expected = other == slot ? -missing : 0;
        EXPECT_NEAR(found[idx(other)], expected, 0.15) << slot << " " << other;
        EXPECT_NEAR(found[idx(3 + other)], expected, 0.15) << slot << " " << other;
      }
      EXPECT_EQ(found[idx(3 + 3)], 0) << "an octave without terms";
    }
  }
}

TEST_F(PlantedTerms, TermsThatMayBeFlushedToZeroDoNotCount) {
  for (const double factor : factors(1, 0, 1e-3, 1)) EXPECT_EQ(factor, 0);
}

TEST(AuditTerms, GroupsHaveNames) {
  const MoeShape shape{.experts = 4, .topk = 2, .shared_dim = 8};
  EXPECT_EQ(term_group_name(shape, 0), "the choices of rank 1");
  EXPECT_EQ(term_group_name(shape, 2), "the shared expert");
  EXPECT_EQ(term_group_name(shape, 3), "gate values of at least 2^-1");
  EXPECT_EQ(term_group_name(shape, 4), "gate values from 2^-2 to 2^-1");
  EXPECT_EQ(term_group_name(shape, num_term_groups(shape) - 1), "gate values below 2^-15");
}

// Each token is a row h w with one h: the errors of its factors are the same in all 8 numbers.
TEST(AuditTerms, ErrorsThatATokensNumbersShareStayWithinTheLimit) {
  const auto rounded = [](double v) { return static_cast<double>(to_f32(to_bf16(static_cast<float>(v)))); };
  const auto silu_of = [](double g) { return g / (1 + std::exp(-g)); };
  for (uint32_t seed = 0; seed < 50; ++seed) {
    Deviations all;
    for (int64_t t = 0; t < 100; ++t) {
      const uint64_t at = static_cast<uint64_t>(10 * t);
      const double g = random_normal(seed, Stream::kX, at), u = random_normal(seed, Stream::kX, at + 1);
      const double s = 1 / (1 + std::exp(-g)), slope = s + g * s * (1 - s), h = silu_of(g) * u;
      const double stored = rounded(silu_of(rounded(g)) * rounded(u));
      const double h_var = slope * slope * u * u * g * g + 2 * h * h;
      for (int64_t c = 0; c < kMostTermNumbers; ++c) {
        const double w = rounded(random_normal(seed, Stream::kX, at + 2 + static_cast<uint64_t>(c)));
        all.add(t, c, rounded(rounded(stored * w)) - h * w, 0x1p-18 * (h_var + 4 * h * h) * w * w, h * w);
      }
    }
    EXPECT_LT(std::abs(all.common_factor()), all.common_factor_limit(all.count(), all.reference())) << seed;
  }
}

TEST(Deviations, WhatErrsInWholeSumsMayShowInTheirTerms) {
  Deviations terms;
  for (int i = 0; i < 100; ++i) terms.add(i, 0, 0, 1e-20, 1e-3);
  const double apart = terms.common_factor_limit(100, terms.reference()),
               whole = terms.common_factor_limit(100, 1e6 * terms.reference());
  EXPECT_EQ(apart, terms.common_factor_limit(100));
  EXPECT_NEAR(whole - apart, 999 * 16 * 0x1p-24, 1e-9);
}

}  // namespace
}  // namespace moehill

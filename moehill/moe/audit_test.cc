// The audit must pass right results, and must see small faults anywhere, whatever seed its projections have.
#include "moehill/moe/audit.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <functional>

#include "moehill/moe/audit_judge.h"
#include "moehill/moe/audit_terms.h"
#include "moehill/moe/block_fixture.h"
#include "moehill/moe/projection.h"

namespace moehill {
namespace {

TEST(Projection, OneColumnBlocksAreTheMatrix) {
  const Projection p(3, 1, 7);
  const double row[] = {1.5, -2, 0};
  double sum[3], squares[3];
  p.project_row(row, sum, squares);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sum[i], row[i]);
    EXPECT_EQ(squares[i], row[i] * row[i]);
  }
}

TEST(Projection, RowsAndColumnsGiveTheSameSums) {
  const Projection p(10, 4, 3);
  EXPECT_EQ(p.num_blocks(), 3);
  Dense<double> a(5, 10), transposed(10, 5);
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t c = 0; c < 10; ++c) a.row(r)[c] = transposed.row(c)[r] = static_cast<double>(r * r + c);
  }
  Projected<double> by_columns, by_rows;
  std::vector<double> norms;
  project(p, a, by_columns);
  project_rows(p, transposed, by_rows, norms);
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t b = 0; b < 3; ++b) {
      EXPECT_NEAR(by_columns.sum.row(r)[b], by_rows.sum.row(b)[r], 1e-12);
      EXPECT_NEAR(by_columns.squares.row(r)[b], by_rows.squares.row(b)[r], 1e-12);
    }
    EXPECT_NEAR(norms[static_cast<size_t>(r)], dot(a.row(r), a.row(r), 10), 1e-9);
  }
}

// The weights differ in size and sign, so that the exchange of any two columns shows.
TEST(Projection, WeightsAreAllDifferent) {
  const Projection p(64, 64, 11);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_GE(std::abs(p.weight[i]), 0.5f);
    EXPECT_LE(std::abs(p.weight[i]), 1.5f);
    for (size_t j = 0; j < i; ++j) EXPECT_NE(p.weight[i], p.weight[j]);
  }
}

TEST(Deviations, ANumberMayBeOffBySevenBoundsAndManyByOne) {
  Deviations one;
  one.add(3, 4, 6.9, 1);
  EXPECT_TRUE(one.within_bounds(1));
  one.add(5, 6, 7.1, 1);
  EXPECT_FALSE(one.within_bounds(1));
  EXPECT_EQ(one.row(), 5);
  EXPECT_EQ(one.block(), 6);
  Deviations many;
  for (int i = 0; i < 10000; ++i) many.add(i, 0, 1.1, 1);
  EXPECT_TRUE(many.within_bounds(20000));
  for (int i = 0; i < 10000; ++i) many.add(i, 0, 1.5, 1);
  EXPECT_FALSE(many.within_bounds(20000)) << many.mean_square();
  EXPECT_TRUE(many.within_bounds(100)) << "as many numbers that share a hundred errors";
}

// Thirty-two columns are each wrong by their own factor; the common factor is the mean of these.
TEST(Deviations, FactorsThatAreApartTellHowFarTheirMeanMayBe) {
  std::vector<Deviations> columns(32);
  for (size_t c = 0; c < columns.size(); ++c) {
    const double factor = c % 2 == 0 ? 0.01 : -0.01;
    for (int r = 0; r < 10; ++r) columns[c].add(r, 0, factor * 5, 1, 5);
  }
  EXPECT_NEAR(factor_spread(columns), 0.01 / std::sqrt(32), 1e-12);
}

TEST(Deviations, AFactorThatAllColumnsShareHasNoSpread) {
  std::vector<Deviations> columns(32);
  for (size_t c = 0; c < columns.size(); ++c) {
    const double size = static_cast<double>(c + 1);
    columns[c].add(0, 0, 0.01 * size, 1, size);
  }
  EXPECT_NEAR(factor_spread(columns), 0, 1e-15);
  EXPECT_EQ(factor_spread({}), 0) << "columns are not known";
}

// Returns why dW2 of 1000 tokens is refused if the numbers of row m are off by factors[m % 4], where 0.003 is
// their root variance.
std::string refusal_of_dw2(int64_t width, const std::array<double, 4>& factors) {
  const MoeShape shape{1000, 64, width, 1, 1, 0, DType::bf16};
  BlockTensors tensors;
  tensors.shape = shape;
  const Projection by_hidden(shape.hidden, 1, 0);
  const AuditContext context{tensors, true, true, 0, ErrorUnits(shape.dtype), 1, by_hidden};
  GradientAudit audit;
  audit.of_block.resize(64);
  audit.of_row.resize(static_cast<size_t>(width));
  for (int64_t m = 0; m < width; ++m) {
    for (int64_t h = 0; h < shape.hidden; ++h) {
      Deviations number;
      number.add(m, h, factors[static_cast<size_t>(m % 4)], 0.003 * 0.003, 1);
      audit.of_block[static_cast<size_t>(h)].add(number);
      audit.of_row[static_cast<size_t>(m)].add(number);
    }
  }
  TensorNumbers numbers("dw2", RowComparison::kUsualFloor);
  AuditJudge(context).judge_gradient({0, shape.tokens}, audit, width, by_hidden, numbers);
  return numbers.finish().failure;
}

// All numbers of a row share the errors of one column of h, so the mean of the rows' factors is off, too.
TEST(AuditJudge, RowsOfDW2MayHaveFactorsOfTheirOwn) {
  EXPECT_EQ(refusal_of_dw2(1, {0.007, 0, 0, 0}), "");
  EXPECT_EQ(refusal_of_dw2(4, {0.007, 0.001, 0.006, 0.002}), "");
  EXPECT_EQ(refusal_of_dw2(32, {0.005, -0.002, 0.005, -0.002}), "");
  EXPECT_NE(refusal_of_dw2(32, {0.0015, 0.0015, 0.0015, 0.0015}).find("common factor"), std::string::npos);
}

// The mean square is that of 1.9, and 1 + 48 / sqrt(2048) is allowed.
TEST(AuditJudge, TheNumbersOfAGradientHaveTheErrorsOfItsTokens) {
  const std::string refusal = refusal_of_dw2(32, {0.0057, -0.0057, 0.0057, -0.0057});
  EXPECT_NE(refusal.find("expert 0: the mean square of 2048 errors is 3.61 "), std::string::npos) << refusal;
}

// Returns why a y is refused for the findings that `find` adds.
std::string refusal_of_y(const MoeShape& shape, const std::function<void(TokenFindings&)>& find) {
  BlockTensors tensors;
  tensors.shape = shape;
  const Projection by_hidden(shape.hidden, 1, 0);
  const AuditContext context{tensors, false, true, 0, ErrorUnits(shape.dtype), 1, by_hidden};
  AuditFindings findings;
  find(findings.tokens.emplace_back(TokenFindings{{"y", RowComparison::kUsualFloor}, {}, {}, {}}));
  return AuditJudge(context).judge(findings, {}).at(0).failure;
}

// All blocks together have a mean square of 9 / 64.
TEST(AuditJudge, EachBlockOfYIsJudgedByItself) {
  const MoeShape shape{1000, 64, 32, 1, 1, 0, DType::bf16};
  for (size_t wrong = 0; wrong < 64; ++wrong) {
    const std::string refusal = refusal_of_y(shape, [&](TokenFindings& found) {
      found.of_block.resize(64);
      for (int64_t t = 0; t < shape.tokens; ++t) {
        for (size_t b = 0; b < 64; ++b) {
          const double size = b == wrong ? 3 : 0;
          found.of_block[b].add(t, static_cast<int64_t>(b), t % 2 == 0 ? size : -size, 1, 1);
        }
      }
      for (const Deviations& block : found.of_block) found.all.add(block);
    });
    EXPECT_EQ(refusal.substr(0, refusal.find(" errors")),
              fmt::format("y of column {}: the mean square of 1000", wrong));
  }
}

TEST(AuditJudge, TermsThatAreMissingAreNamedByTheirGroup) {
  const MoeShape shape{100, 64, 32, 4, 2, 8, DType::bf16};
  for (int64_t missing = 0; missing < num_term_groups(shape); ++missing) {
    const std::string refusal = refusal_of_y(shape, [&](TokenFindings& found) {
      for (int64_t g = 0; g < num_term_groups(shape); ++g) {
        for (int64_t c = 0; c < kMostTermNumbers; ++c) {
          Deviations& column = found.of_term.emplace_back();
          for (int64_t t = 0; t < shape.tokens; ++t) column.add(t, c, g == missing ? -1 : 0, 0.01, 1);
        }
      }
    });
    EXPECT_EQ(
        refusal.substr(0, refusal.find(", ")),
        fmt::format("y of {}: the factor of these terms is off by -1", term_group_name(shape, missing)));
  }
}

TEST(AuditBytes, EachThreadHasTheWeightsOfAStripAndAllHaveTheSumsTogether) {
  const MoeShape shape{1000, 64, 32, 4, 2, 0, DType::bf16};
  const auto bytes = [&](int threads) {
    return audit_bytes(shape, Pass::forward_backward, false, {.num_processes = 1, .num_threads = threads});
  };
  const double of_a_thread = bytes(2) - bytes(1);
  EXPECT_GT(of_a_thread, 3 * 64 * 32 * 4);
  EXPECT_NEAR(bytes(5) - bytes(1), 4 * of_a_thread, 1);
  EXPECT_GT(bytes(1) - of_a_thread, 8 * 5 * 1000 * 32);  // the sums of a token have 32 blocks or more
}

TEST(AuditBytes, AThreadHasTheRowsOfAChunkOrOfAllTokens) {
  const auto of_a_thread = [](int64_t tokens) {
    const MoeShape shape{tokens, 64, 32, 4, 2, 0, DType::bf16};
    return audit_bytes(shape, Pass::forward_backward, false, {.num_processes = 1, .num_threads = 2}) -
           audit_bytes(shape, Pass::forward_backward, false, {.num_processes = 1, .num_threads = 1});
  };
  EXPECT_NEAR(of_a_thread(2 * kChunkRows), of_a_thread(kChunkRows), 1);
  EXPECT_NEAR(of_a_thread(kChunkRows) - of_a_thread(kChunkRows / 2),
              of_a_thread(kChunkRows / 2) - of_a_thread(0), 1);
  EXPECT_GT(of_a_thread(kChunkRows) - of_a_thread(0), 4 * 3 * 64 * kChunkRows);  // rows of x, dy and dx
}

TEST(Deviations, NothingMayDeviateWithoutVarianceAndNaNNever) {
  Deviations exact;
  exact.add(0, 0, 0, 0);
  EXPECT_TRUE(exact.within_bounds(1));
  exact.add(1, 0, 1e-300, 0);
  EXPECT_FALSE(exact.within_bounds(1));
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Deviations broken;
    broken.add(0, 0, value, 1);
    EXPECT_FALSE(broken.within_bounds(1));
    Deviations unbounded;
    unbounded.add(0, 0, 0, value);
    EXPECT_FALSE(unbounded.within_bounds(1));
  }
}

// This shape is wide enough for blocks of several columns.
constexpr int kSeeds = 20;
MoeShape wide_shape(DType dtype) { return {150, 256, 128, 4, 2, 96, dtype}; }

std::string failure_of(const BlockFixture& fixture, ThreadTeam& team, uint32_t seed, bool exact = false) {
  const AuditResult result =
      audit_block(CheckShare::whole(fixture.tensors()), Pass::forward_backward, {exact, seed}, team);
  EXPECT_TRUE(result.reference_holds);
  for (const TensorAudit& tensor : result.tensors) {
    if (!tensor.failure.empty()) return tensor.failure;
  }
  return "";
}

class AuditTest : public testing::TestWithParam<DType> {
 protected:
  AuditTest() { fixture_.store_oracle(team_); }

  // `plant` changes the results, and every seed must see that.
  void expect_seen(const std::string& tensor, const std::function<void(const BlockTensors&)>& plant) {
    plant(fixture_.tensors());
    for (uint32_t seed = 0; seed < kSeeds; ++seed) {
      const std::string failure = failure_of(fixture_, team_, seed);
      EXPECT_EQ(failure.rfind(tensor, 0), 0u) << tensor << " seed " << seed << ": " << failure;
    }
    fixture_.store_oracle(team_);
  }
  double unit() const { return GetParam() == DType::f32 ? 1e-4 : 0.02; }

  ThreadTeam team_{2};
  BlockFixture fixture_{wide_shape(GetParam())};
};
INSTANTIATE_TEST_SUITE_P(Each, AuditTest, testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return dtype_name(test.param); });

TEST_P(AuditTest, RightResultsPassWithEverySeed) {
  for (uint32_t seed = 0; seed < kSeeds; ++seed) EXPECT_EQ(failure_of(fixture_, team_, seed), "");
  EXPECT_EQ(failure_of(fixture_, team_, 0, true), "");
}

// The limits are at values that are frequent.
constexpr const char* kAuditedForms[] = {"silu",      "silu,limit:0.5", "swiglu-oai,limit:0.5",
                                         "gelu-tanh", "relu2",          "situ,beta:1,linear-beta:2"};

TEST_P(AuditTest, RightResultsOfEveryExpertFormPass) {
  for (const char* form : kExpertForms) {
    MoeShape shape = wide_shape(GetParam());
    shape.form = parse_expert_form(form);
    BlockFixture fixture(shape);
    fixture.store_oracle(team_);
    for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(failure_of(fixture, team_, seed), "") << form;
    EXPECT_EQ(failure_of(fixture, team_, 0, true), "") << form;
  }
}

// Leaves out one of the vectors, or the gate values of inputs, in y or in a gradient.
TEST_P(AuditTest, AVectorThatIsLeftOutIsSeen) {
  const auto clear = [](const LogicalWeights& v, int64_t group) {
    for (int64_t n = 0; n < v.num_columns; ++n) v.set(group, 0, n, 0);
  };
  struct Case {
    const char *form, *tensor;
    std::function<const LogicalWeights&(const BlockWeights&)> of;
  };
  const std::vector<Case> cases = {
      {"silu,biases", "db1", [](const BlockWeights& w) -> const LogicalWeights& { return w.b1; }},
      {"silu,biases", "db2", [](const BlockWeights& w) -> const LogicalWeights& { return w.b2; }},
      {"silu,biases", "db3", [](const BlockWeights& w) -> const LogicalWeights& { return w.b3; }},
      {"silu,shared-gate", "dsg", [](const BlockWeights& w) -> const LogicalWeights& { return w.sg; }}};
  for (const Case& c : cases) {
    MoeShape shape = wide_shape(GetParam());
    shape.form = parse_expert_form(c.form);
    BlockFixture fixture(shape);
    const BlockTensors t = fixture.tensors();
    fixture.store_oracle(team_);
    EXPECT_EQ(failure_of(fixture, team_, 1), "") << c.form;
    clear(c.of(t.gradients), 0);  // the gradient
    EXPECT_EQ(failure_of(fixture, team_, 1).rfind(c.tensor, 0), 0u) << c.tensor;
    // Changes the vector itself: then y was made from other operands than the audit reads.
    const LogicalWeights& vector = c.of(t.weights);
    const float value = vector.at(0, 0, 5);
    vector.set(0, 0, 5, value + 1);
    fixture.store_oracle(team_);
    vector.set(0, 0, 5, value);
    EXPECT_EQ(failure_of(fixture, team_, 1).rfind("y ", 0), 0u) << c.tensor;
  }
}

TEST_P(AuditTest, GateValuesOfOutputsForThoseOfInputsAreSeen) {
  MoeShape shape = wide_shape(GetParam());
  shape.router.input_weighted = true;
  BlockFixture fixture(shape);
  fixture.store_oracle(team_);
  for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(failure_of(fixture, team_, seed), "");
  EXPECT_EQ(failure_of(fixture, team_, 0, true), "");
  fixture.set_input_weighted(false);
  fixture.store_gradients(team_);
  fixture.set_input_weighted(true);
  EXPECT_EQ(failure_of(fixture, team_, 1).rfind("dx ", 0), 0u);
  fixture.set_input_weighted(false);
  fixture.store_output(team_);
  fixture.set_input_weighted(true);
  EXPECT_EQ(failure_of(fixture, team_, 1).rfind("y ", 0), 0u);
}

// Replaces an activation or a limit by another one, in y or in the gradients only.
TEST_P(AuditTest, AnotherActivationIsSeen) {
  for (const char* form : kAuditedForms) {
    for (const char* wrong : kAuditedForms) {
      if (form == wrong) continue;
      MoeShape shape = wide_shape(GetParam());
      shape.form = parse_expert_form(form);
      const Activation right = shape.form.activation, other = parse_expert_form(wrong).activation;
      BlockFixture fixture(shape);
      fixture.set_activation(other);
      fixture.store_output(team_);
      fixture.set_activation(right);
      fixture.store_gradients(team_);
      EXPECT_EQ(failure_of(fixture, team_, 1).rfind("y ", 0), 0u) << wrong << " for " << form;
      fixture.store_output(team_);
      fixture.set_activation(other);
      fixture.store_gradients(team_);
      fixture.set_activation(right);
      EXPECT_EQ(failure_of(fixture, team_, 1).rfind("dx ", 0), 0u) << wrong << " for " << form;
    }
  }
}

// Sets one element of each tensor to zero. A typical element is 0.1 to 1 times its row's norm over
// sqrt(columns).
TEST_P(AuditTest, OneElementOfAMatrixIsSeen) {
  const auto lose = [](const LogicalWeights& w, int64_t group) {
    int64_t column = 0;  // the largest of the row
    for (int64_t n = 0; n < w.num_columns; ++n) {
      if (std::abs(w.at(group, 17, n)) > std::abs(w.at(group, 17, column))) column = n;
    }
    w.set(group, 17, column, 0);
  };
  expect_seen("dw1", [&](const BlockTensors& t) { lose(t.gradients.w1, 3); });
  expect_seen("dw2", [&](const BlockTensors& t) { lose(t.gradients.w2, 0); });
  expect_seen("dw3", [&](const BlockTensors& t) { lose(t.gradients.w3, 1); });
  expect_seen("ds1", [&](const BlockTensors& t) { lose(t.gradients.s1, 0); });
  expect_seen("ds2", [&](const BlockTensors& t) { lose(t.gradients.s2, 0); });
  expect_seen("ds3", [&](const BlockTensors& t) { lose(t.gradients.s3, 0); });
  expect_seen("y", [](const BlockTensors& t) { t.y.set(149, 255, t.y.at(149, 255) + 1); });
}

TEST_P(AuditTest, AScaledTensorIsSeen) {
  const float factor = static_cast<float>(1 + unit());
  const auto scale = [&](const MatView& m) {
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) m.set(r, c, factor * m.at(r, c));
    }
  };
  const auto scale_weights = [&](const LogicalWeights& w) {
    for (int64_t g = 0; g < w.stack.num_groups; ++g) {
      for (int64_t r = 0; r < w.rows(); ++r) {
        for (int64_t n = 0; n < w.num_columns; ++n) w.set(g, r, n, factor * w.at(g, r, n));
      }
    }
  };
  // Changes y only: another y would have other gradients too.
  expect_seen("y", [&](const BlockTensors& t) { scale(t.y); });
  expect_seen("dx", [&](const BlockTensors& t) { scale(t.dx); });
  expect_seen("dw1", [&](const BlockTensors& t) { scale_weights(t.gradients.w1); });
  expect_seen("ds2", [&](const BlockTensors& t) { scale_weights(t.gradients.s2); });
  expect_seen("dp", [&](const BlockTensors&) {
    for (float& dp : fixture_.dp()) dp *= 1 + 2 * (factor - 1);
  });
}

// A gradient lacks one of an expert's 75 tokens: this error has rank one and is small in each element.
TEST_P(AuditTest, OneTokenLostByAWeightGradientIsSeen) {
  expect_seen("dw1", [&](const BlockTensors& t) {
    const std::vector<int32_t>& expert = fixture_.routing().expert;
    const size_t lost = static_cast<size_t>(std::find(expert.begin(), expert.end(), 2) - expert.begin());
    fixture_.kept().assign(expert.size(), 1);
    fixture_.kept()[lost] = 0;
    const ExpertGradients d = run_oracle_expert(fixture_.tensors(), 2, indices_up_to(t.shape.mlp_dim),
                                                fixture_.stored_loss_gradient().data(), team_);
    fixture_.kept().clear();
    for (int64_t h = 0; h < t.shape.hidden; ++h) {
      for (int64_t m = 0; m < t.shape.mlp_dim; ++m)
        t.gradients.w1.set(2, h, m, static_cast<float>(d.dw1.row(h)[m]));
    }
  });
}

// The factor is off in one column, so the error is small beside the rest of that column's block, and no other
// block has one.
TEST_P(AuditTest, OneColumnScaledInAllRowsIsSeen) {
  const float factor = 1 + 5 * static_cast<float>(unit());
  const auto scale = [&](const LogicalWeights& w, int64_t group, int64_t column) {
    for (int64_t r = 0; r < w.rows(); ++r) w.set(group, r, column, factor * w.at(group, r, column));
  };
  expect_seen("y", [&](const BlockTensors& t) {
    for (int64_t r = 0; r < t.y.rows; ++r) t.y.set(r, 255, factor * t.y.at(r, 255));
  });
  expect_seen("dx", [&](const BlockTensors& t) {
    for (int64_t r = 0; r < t.dx.rows; ++r) t.dx.set(r, 17, factor * t.dx.at(r, 17));
  });
  expect_seen("dw1", [&](const BlockTensors& t) { scale(t.gradients.w1, 3, 127); });
  expect_seen("dw2", [&](const BlockTensors& t) { scale(t.gradients.w2, 0, 200); });
}

TEST_P(AuditTest, TwoColumnsOfYExchangedAreSeen) {
  expect_seen("y", [](const BlockTensors& t) {
    for (int64_t r = 0; r < t.y.rows; ++r) {
      const float value = t.y.at(r, 40);
      t.y.set(r, 40, t.y.at(r, 41));
      t.y.set(r, 41, value);
    }
  });
}

// Each element is within the bound of one rounding, but all together have a bias.
TEST_P(AuditTest, YCutOffInPlaceOfRoundedIsSeen) {
  if (GetParam() == DType::f32) GTEST_SKIP() << "below what f32 sums may be off by";
  expect_seen("y", [&](const BlockTensors& t) {
    const OracleResult oracle = run_oracle(t, false, nullptr, team_);
    for (int64_t r = 0; r < t.y.rows; ++r) {
      for (int64_t c = 0; c < t.y.cols; ++c) {
        const float value = static_cast<float>(oracle.y[static_cast<size_t>(r * t.y.cols + c)]);
        t.y.set(r, c, std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000u));
      }
    }
  });
}

TEST_P(AuditTest, ASmallCommonFactorIsSeen) {
  const float factor = GetParam() == DType::f32 ? 1 + 2e-5f : 1.004f;
  expect_seen("dx", [&](const BlockTensors& t) {
    for (int64_t r = 0; r < t.dx.rows; ++r) {
      for (int64_t c = 0; c < t.dx.cols; ++c) t.dx.set(r, c, factor * t.dx.at(r, c));
    }
  });
  expect_seen("dw1", [&](const BlockTensors& t) {
    for (int64_t r = 0; r < t.gradients.w1.rows(); ++r) {
      for (int64_t n = 0; n < t.gradients.w1.num_columns; ++n)
        t.gradients.w1.set(2, r, n, factor * t.gradients.w1.at(2, r, n));
    }
  });
  expect_seen("dp", [&](const BlockTensors&) {
    for (float& dp : fixture_.dp()) dp *= 1 + 4 * (factor - 1);
  });
}

// A capacity may drop a token's large choices. Then its y, and with it its gradients, are as small as the
// gate value that is left, and its dx is as small as the square of that value.
TEST_P(AuditTest, TokensWithTinyGateValuesAreJudgedLikeOthers) {
  MoeShape shape = wide_shape(GetParam());
  shape.shared_dim = 0;
  BlockFixture tiny(shape);
  const float gates[] = {1, 1e-14f, 1e-20f, 1e-30f, 1e-42f};
  std::vector<float>& weight = tiny.routing().weight;
  for (size_t a = 0; a < weight.size(); ++a) weight[a] *= gates[a / 2 % 5];
  tiny.store_oracle(team_);
  for (uint32_t seed = 0; seed < kSeeds; ++seed) EXPECT_EQ(failure_of(tiny, team_, seed), "");
  EXPECT_EQ(failure_of(tiny, team_, 0, true), "");
  const MatView dx = tiny.tensors().dx;
  const float factor = 1 + 5 * static_cast<float>(unit());
  for (int64_t c = 0; c < dx.cols; ++c) dx.set(1, c, factor * dx.at(1, c));
  for (uint32_t seed = 0; seed < kSeeds; ++seed)
    EXPECT_EQ(failure_of(tiny, team_, seed).rfind("dx token 1 ", 0), 0u) << seed;
}

// All values are those of the usual block times a power of two.
TEST_P(AuditTest, FaultsAreSeenWhereOutputsAreSmall) {
  MoeShape shape = wide_shape(GetParam());
  shape.shared_dim = 0;
  BlockFixture small(shape);
  const LogicalWeights w2 = small.tensors().weights.w2;
  for (int64_t e = 0; e < shape.experts; ++e) {
    for (int64_t m = 0; m < w2.rows(); ++m) {
      for (int64_t h = 0; h < w2.num_columns; ++h) w2.set(e, m, h, 0x1p-10f * w2.at(e, m, h));
    }
  }
  small.store_oracle(team_);
  for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(failure_of(small, team_, seed), "");
  for (float& dp : small.dp()) dp *= 1 + 2 * static_cast<float>(unit());
  for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(failure_of(small, team_, seed).rfind("dp", 0), 0u);
}

// The block in double rounds rows that passed a wire, too. The audit does not compute it in the same way.
TEST_P(AuditTest, RowsThatPassedAWireAreThoseOfTheBlockInDouble) {
  for (const bool input_weighted : {false, true}) {
    for (const Wire wire : {Wire::bf16, Wire::fp8_scales}) {
      MoeShape shape = wide_shape(GetParam());
      shape.router.input_weighted = input_weighted;
      BlockFixture fixture(shape);
      std::vector<uint8_t> far;
      for (int64_t i = 0; i < shape.assignments(); ++i) far.push_back(i % 3 != 0);
      BlockTensors t = fixture.tensors();
      t.wire = wire;
      t.far = far.data();
      const std::vector<int64_t> tokens = indices_up_to(shape.tokens);
      const auto store = [](const Dense<double>& from, const MatView& to) {
        for (int64_t r = 0; r < to.rows; ++r) {
          for (int64_t c = 0; c < to.cols; ++c) to.set(r, c, static_cast<float>(from.row(r)[c]));
        }
      };
      store(run_oracle_tokens(t, tokens, LossGradient(nullptr), team_).y, t.y);
      const TokenResult right = run_oracle_tokens(t, tokens, LossGradient(t), team_);
      store(right.dx, t.dx);
      for (size_t i = 0; i < far.size(); ++i) fixture.dp()[i] = static_cast<float>(right.dp.values[i]);
      const auto failure = [&](const std::string& tensor) -> std::string {
        const AuditResult result =
            audit_block(CheckShare::whole(t), Pass::forward_backward, {false, 3}, team_);
        for (const TensorAudit& audit : result.tensors) {
          if (audit.tensor == tensor) return audit.failure;
        }
        return "no such tensor";
      };
      for (const char* tensor : {"y", "dx", "dp"})
        EXPECT_EQ(failure(tensor), "") << name_of(wire) << (input_weighted ? ", input-weighted" : "");
      t.far = nullptr;
      const bool changes_rows = GetParam() == DType::f32 || wire != Wire::bf16;
      EXPECT_EQ(!failure("y").empty(), changes_rows) << name_of(wire);
      // The errors of bf16 may hide those of the wire in dx and dp, which are sums over many columns.
      if (GetParam() == DType::f32) {
        for (const char* tensor : {"dx", "dp"})
          EXPECT_NE(failure(tensor), "") << name_of(wire) << " " << tensor;
      }
    }
  }
}

// The outputs of such an expert are not zero, but its gradients are.
TEST_P(AuditTest, AnExpertWhoseGateValuesAreAllZeroPasses) {
  Routing& routing = fixture_.routing();
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    if (routing.expert[a] == 1) routing.weight[a] = 0;
  }
  fixture_.store_oracle(team_);
  EXPECT_EQ(fixture_.tensors().gradients.w1.at(1, 0, 0), 0);
  for (uint32_t seed = 0; seed < 5; ++seed) EXPECT_EQ(failure_of(fixture_, team_, seed), "");
  EXPECT_EQ(failure_of(fixture_, team_, 0, true), "");
}

// A y that is truncated instead of rounded has half the precision of its type, and fails the audit.
TEST_P(AuditTest, YOfFewerBitsIsSeen) {
  const uint32_t mask = GetParam() == DType::f32 ? 0xffffff00u : 0xfff80000u;
  expect_seen("y", [&](const BlockTensors& t) {
    for (int64_t r = 0; r < t.y.rows; ++r) {
      for (int64_t c = 0; c < t.y.cols; ++c)
        t.y.set(r, c, std::bit_cast<float>(std::bit_cast<uint32_t>(t.y.at(r, c)) & mask));
    }
  });
}

}  // namespace
}  // namespace moehill

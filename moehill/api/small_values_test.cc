// Tests that right steps pass the check even if values or slopes are very small.
#include <gtest/gtest.h>

#include "moehill/api/run_fixture.h"

namespace moehill {
namespace {

using SmallValuesTest = RunFixture;

TEST_F(SmallValuesTest, OfActivationsPass) {
  struct Case {
    const char* form;
    MoeShape shape;
  };
  const Case cases[] = {
      {"situ,beta:1,linear-beta:2", {17, 1, 33, 24, 2, 0, DType::f32}},
      {"situ,beta:0.25,linear-beta:0.25", {17, 64, 33, 12, 2, 0, DType::f32}},
      {"situ,beta:0.05,linear-beta:0.05", {17, 64, 33, 12, 2, 0, DType::bf16}},
      {"gelu-tanh", {40, 1, 60, 40, 1, 0, DType::f32}},
      {"swiglu-oai,limit:0.001,alpha:100", {64, 4, 32, 8, 2, 0, DType::f32}},
  };
  for (const Case& c : cases) {
    for (uint32_t seed = 1; seed <= 8; ++seed) {
      RunConfig config{.shape = c.shape};
      config.shape.form = parse_expert_form(c.form);
      const auto run = step(config, seed);
      for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
        const CheckResult result = check(run->tensors(), mode);
        EXPECT_TRUE(result.numbers_ok) << c.form << " seed " << seed << ": " << result.reason;
      }
    }
  }
}

// For logits far above 20 the score differs from 1 only in its last digit.
TEST_F(SmallValuesTest, OfARoutersSlopesPass) {
  for (const char* router : {"sigmoid", "sigmoid,normalized", "sqrt-softplus"}) {
    RunConfig config{.shape = {500, 4, 4, 64, 1, 0, DType::f32}};
    config.shape.router = parse_router_rule(router);
    config.block.router_grad = true;
    const auto run = step(config, 1, parse_distributions("dirichlet:1e6").front());
    for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
      const CheckResult result = check(run->tensors(), mode);
      EXPECT_TRUE(result.numbers_ok) << router << ": " << result.reason;
    }
  }
}

}  // namespace
}  // namespace moehill

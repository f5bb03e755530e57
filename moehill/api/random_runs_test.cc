// Tests that right results pass the check at any shape. Runs are drawn at random: tokens from 1 on, odd
// sizes, types, implementations and paths. MOEHILL_RANDOM_RUNS=2000 draws that many.
#include <gtest/gtest.h>

#include <cstdlib>

#include "moehill/api/measuring.h"
#include "moehill/base/rng.h"
#include "moehill/moe/check.h"
#include "moehill/moe/deviation.h"

namespace moehill {
namespace {

class Draws {
 public:
  explicit Draws(uint32_t seed) : seed_(seed) {}
  // Draws from [low, high].
  int64_t between(int64_t low, int64_t high) {
    const double u = random_uniform(seed_, Stream::kSampleRows, next_++);
    return low + std::min(high - low, static_cast<int64_t>(u * static_cast<double>(high - low + 1)));
  }
  template <typename Enum>
  Enum choice(int last) {
    return static_cast<Enum>(between(0, last));
  }
  bool heads() { return between(0, 1) == 1; }

 private:
  uint32_t seed_;
  uint64_t next_ = 0;
};

MoeShape draw_shape(Draws& draw) {
  MoeShape shape;
  const int64_t most = draw.heads() ? 8 : 200;
  shape.tokens = draw.between(1, most);
  shape.hidden = draw.between(1, draw.heads() ? 40 : 300);
  shape.mlp_dim = draw.between(1, draw.heads() ? 40 : 200);
  shape.experts = static_cast<int>(draw.between(1, 16));
  shape.topk = static_cast<int>(draw.between(1, std::min(shape.experts, 8)));
  shape.shared_dim = draw.heads() ? 0 : draw.between(1, 70);
  shape.dtype = draw.heads() ? DType::f32 : DType::bf16;
  const int64_t form = draw.between(0, 2 * std::ssize(kExpertForms) - 1);  // half of them plain SwiGLU
  if (form < std::ssize(kExpertForms)) shape.form = parse_expert_form(kExpertForms[form]);
  return shape;
}

bool may_be_input_weighted(const RunConfig& config) {
  return !config.shape.form.biases && !has_preweight(config.block.impl);
}

RunConfig draw_config(Draws& draw) {
  RunConfig config;
  config.shape = draw_shape(draw);
  BlockOptions& block = config.block;
  block.backend = draw.choice<Backend>(1);
  block.impl = draw.choice<Impl>(static_cast<int>(Impl::fast));
  block.remat = draw.choice<Remat>(static_cast<int>(Remat::combine));
  block.pack = draw.choice<PackStrategy>(static_cast<int>(PackStrategy::counting_sort));
  block.pass = draw.between(0, 3) == 0 ? Pass::forward : Pass::forward_backward;
  block.router_grad = block.pass == Pass::forward_backward && draw.heads();
  block.shared_fused = draw.heads();
  if (draw.between(0, 3) == 0)
    block.capacity = {draw.heads() ? CapacityPolicy::drop : CapacityPolicy::pad,
                      0.25 * static_cast<double>(draw.between(2, 6))};
  if (draw.between(0, 3) == 0 && may_be_input_weighted(config)) {
    config.shape.router = parse_router_rule("sigmoid,input-weighted");
    block.router_grad = false;  // in f32 a sigmoid's s (1 - s) has no digits left where s is nearly 1
  }
  config.spread = spread_of(draw.choice<ParallelMode>(2), Spread::compact_psum);
  if (config.spread != Spread::none) config.num_devices = static_cast<int>(draw.between(1, 4));
  if (is_ep(config.spread)) config.spread = kEpPaths[draw.between(0, std::ssize(kEpPaths) - 1)];
  config.threads_per_device = static_cast<int>(draw.between(1, 2));
  return config;
}

DistributionOptions draw_distribution(Draws& draw) {
  DistributionOptions distribution;
  if (draw.heads()) return distribution;
  distribution.kind = Distribution::runs;
  distribution.run_noise_scale = draw.heads() ? 0.35 : 10;
  return distribution;
}

std::string description(const RunConfig& config, int64_t run) {
  return "run " + std::to_string(run) + ": " + to_string(config.shape) + " " + to_string(config.shape.form) +
         " " + to_string(config.shape.router) + " " + name_of(config.block.impl) + " " +
         name_of(config.block.backend) + " " + name_of(config.block.remat) + " " +
         std::string(name_of(config.spread)) + " " + name_of(config.block.capacity.policy) + " devices " +
         std::to_string(config.num_devices);
}

TEST(RandomRuns, ThatAreRightPassBothChecks) {
  const char* asked = std::getenv("MOEHILL_RANDOM_RUNS");
  const int64_t num_runs = asked == nullptr ? 150 : std::atoll(asked);
  ThreadTeam team(2);
  double worst[2] = {};
  std::string worst_where[2];
  for (int64_t i = 0; i < num_runs; ++i) {
    Draws draw(static_cast<uint32_t>(i));
    const RunConfig config = draw_config(draw);
    RunFactory factory(draw_distribution(draw), static_cast<uint32_t>(i), {});
    const std::unique_ptr<moehill::Run> run = factory.make(config);
    run->poison();
    run->step({});
    run->collect();
    for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
      const CheckResult result =
          check_block(run->tensors(), config.block.pass, mode, static_cast<uint32_t>(i), team);
      EXPECT_TRUE(result.numbers_ok) << description(config, i) << ": " << result.reason;
      double& largest = worst[mode == CheckMode::full];
      if (result.worst_bounds > largest)
        worst_where[mode == CheckMode::full] = description(config, i) + " " + result.worst_number;
      largest = std::max(largest, result.worst_bounds);
    }
  }
  RecordProperty("worst_of_sample", std::to_string(worst[0]));
  RecordProperty("worst_of_full", std::to_string(worst[1]));
  std::printf(
      "%lld runs: at most %.2f of the bounds by projections (%s), %.2f by elements (%s), %g allowed\n",
      static_cast<long long>(num_runs), worst[0], worst_where[0].c_str(), worst[1], worst_where[1].c_str(),
      kMaxBounds);
}

// With one token, a gradient is one row times one column, so all of its numbers share the rounding errors of
// a few values.
TEST(RandomRuns, OfOneTokenAndANarrowExpertPassBothChecks) {
  ThreadTeam team(2);
  for (const MoeShape& shape :
       {MoeShape{1, 2000, 1, 2, 1, 0, DType::bf16}, MoeShape{2, 1200, 2, 1, 1, 1, DType::bf16},
        MoeShape{2, 1, 700, 2, 2, 3, DType::f32}, MoeShape{36, 1, 4000, 1, 1, 0, DType::f32}}) {
    for (uint32_t seed = 0; seed < 60; ++seed) {
      RunFactory factory({}, seed, {});
      const std::unique_ptr<moehill::Run> run = factory.make({.shape = shape});
      run->step({});
      for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
        const CheckResult result = check_block(run->tensors(), Pass::forward_backward, mode, seed, team);
        EXPECT_TRUE(result.numbers_ok) << to_string(shape) << " seed " << seed << ": " << result.reason;
        EXPECT_EQ(result.reason.find("does not hold"), std::string::npos)
            << to_string(shape) << " seed " << seed;
      }
    }
  }
}

// The errors of a narrow expert's few columns are shared by all rows of its gradients.
TEST(RandomRuns, OfManyTokensAndNarrowExpertsPass) {
  ThreadTeam team(2);
  MoeShape shape{3072, 1024, 32, 24, 6, 0, DType::bf16};
  RunFactory factory({}, 0, {});
  const std::unique_ptr<moehill::Run> run = factory.make({.shape = shape});
  run->step({});
  for (uint32_t seed = 0; seed < 3; ++seed) {
    const CheckResult result =
        check_block(run->tensors(), Pass::forward_backward, CheckMode::sample, seed, team);
    EXPECT_TRUE(result.numbers_ok) << "seed " << seed << ": " << result.reason;
  }
}

// All numbers of a row of dW2, and of a column of dW1, have the errors of one column of h. The square of a
// ReLU makes a few tokens large, so that their errors weigh most.
TEST(RandomRuns, OfExpertsOfFewColumnsPass) {
  ThreadTeam team(2);
  for (const char* form : {"silu", "relu2"}) {
    for (const int64_t width : {1, 2, 4}) {
      MoeShape shape{300, 300, width, 1, 1, 0, DType::bf16};
      shape.form = parse_expert_form(form);
      for (uint32_t seed = 0; seed < 20; ++seed) {
        RunFactory factory({}, seed, {});
        const std::unique_ptr<moehill::Run> run = factory.make({.shape = shape});
        run->step({});
        for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
          const CheckResult result = check_block(run->tensors(), Pass::forward_backward, mode, seed, team);
          EXPECT_TRUE(result.numbers_ok)
              << to_string(shape) << " " << form << " seed " << seed << ": " << result.reason;
        }
      }
    }
  }
}

// A few of a thousand tokens make most of a gradient of one column, so its common factor is their rounding
// errors. By a model of the roundings, the error of one run in eight exceeds what it could be if the thousand
// tokens were independent. So some of the fifty runs almost certainly exceed it.
TEST(RandomRuns, OfExpertsOfOneColumnAndManyTokensPass) {
  ThreadTeam team(2);
  MoeShape shape{1000, 1000, 1, 1, 1, 0, DType::bf16};
  shape.form = parse_expert_form("relu2");
  for (uint32_t seed = 0; seed < 50; ++seed) {
    RunFactory factory({}, seed, {});
    const std::unique_ptr<moehill::Run> run = factory.make({.shape = shape});
    run->step({});
    const CheckResult result =
        check_block(run->tensors(), Pass::forward_backward, CheckMode::sample, seed, team);
    EXPECT_TRUE(result.numbers_ok) << "seed " << seed << ": " << result.reason;
  }
}

}  // namespace
}  // namespace moehill

// Tests of experts with another width than the model's: they pass the check on every path that has them, and
// planted faults in every product around them are found.
#include <gtest/gtest.h>

#include "moehill/api/run_fixture.h"
#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr Spread kPaths[] = {Spread::none, Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused,
                             Spread::hierarchical};

class LatentRunTest : public RunFixture {
 protected:
  static RunConfig config_of(const char* form, Spread path, DType dtype) {
    RunConfig config{.shape = kOdd, .threads_per_device = 2};
    config.shape.form = parse_expert_form(form);
    config.shape.dtype = dtype;
    config.spread = path;
    config.num_devices = path == Spread::none ? 1 : 3;
    config.block.router_grad = true;
    return config;
  }
  static CheckStatus status(const BlockTensors& tensors, CheckMode mode = CheckMode::full) {
    return check(tensors, mode).status;
  }
};

TEST_F(LatentRunTest, IsRightOnEveryPathAndByEveryMeans) {
  int number = 0;
  for (const char* form : kLatentForms) {
    for (const Spread path : kPaths) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const Backend backend : {Backend::gmm, Backend::ragged_dot}) {
          RunConfig config = config_of(form, path, dtype);
          config.block.backend = backend;
          config.block.remat = all_values<Remat>()[static_cast<size_t>(number++ % 3)];
          config.num_waves = path == Spread::fused && number % 2 == 0 ? 2 : 0;
          const auto run = step(config);
          for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
            const CheckResult result = check(run->tensors(), mode);
            EXPECT_TRUE(result.numbers_ok) << form << " " << name_of(path) << " " << name_of(dtype) << " "
                                           << name_of(backend) << ": " << result.reason;
          }
        }
      }
    }
  }
}

TEST_F(LatentRunTest, HasTheRoutersProductAroundIt) {
  for (const Spread path : kPaths) {
    RunConfig config = config_of(kLatentForms[1], path, DType::f32);
    config.block.route_in_step = config.block.router_product = true;
    const auto run = step(config);
    BlockTensors t = run->tensors();
    EXPECT_TRUE(check(t).numbers_ok) << check(t).reason;
    EXPECT_TRUE(check(t, CheckMode::sample).numbers_ok) << check(t, CheckMode::sample).reason;
    t.weights.wg = t.gradients.wg = {};  // dx without the router's part is another
    EXPECT_EQ(status(t), CheckStatus::failed);
  }
}

// Every 64 tokens have a sum of their own for the norm's gradient, and the threads share these sums.
TEST_F(LatentRunTest, ManyTokensAreRightToo) {
  RunConfig config = config_of("silu,latent:33,latent-norm:1e-05", Spread::none, DType::f32);
  for (const int64_t tokens : {64, 65, 300}) {
    config.shape.tokens = tokens;
    const auto run = step(config);
    EXPECT_TRUE(check(run->tensors()).numbers_ok) << tokens << ": " << check(run->tensors()).reason;
  }
}

// The check says how many rows it has compared, also of the tensors around the experts.
TEST_F(LatentRunTest, RowsOfAllTensorsCount) {
  RunConfig config = config_of("silu,latent:33,latent-norm:1e-05", Spread::none, DType::f32);
  config.block.route_in_step = config.block.router_product = true;
  const auto run = step(config);
  // y, z, n, dx, dn and dr of a token; then r, dz, dp and dlogits of the experts' part
  const int64_t of_tokens = (6 + 4) * kOdd.tokens;
  const int64_t shared = 2 * kOdd.hidden + kOdd.shared_dim, experts = kOdd.experts * (2 * 33 + kOdd.mlp_dim);
  const int64_t products = kOdd.experts + 2 * 33 + 1;  // dwg, the gradients of both matrices and of the norm
  const CheckResult result = check(run->tensors());
  EXPECT_EQ(result.num_rows, of_tokens + shared + experts + products) << result.what;
}

TEST_F(LatentRunTest, PlantedFaultsAreSeen) {
  const auto run = step(config_of("silu,latent:33,latent-norm:1e-05", Spread::ragged_a2a, DType::f32));
  const BlockTensors t = run->tensors();
  ASSERT_EQ(status(t), CheckStatus::passed) << check(t).reason;
  const LatentRows& rows = t.latent;
  for (const MatView& m : {t.y, t.dx, rows.z, rows.r, rows.n, rows.dn, rows.dr, rows.dz}) {
    const float value = m.at(17, 5);
    m.set(17, 5, value * 1.05f + 0.001f);
    for (const CheckMode mode : {CheckMode::full, CheckMode::sample})
      EXPECT_EQ(status(t, mode), CheckStatus::failed) << &m - &t.y;
    m.set(17, 5, value);
  }
  for (const LogicalWeights* w :
       {&t.gradients.latent_down, &t.gradients.latent_up, &t.gradients.latent_norm}) {
    const int64_t row = w->rows() - 1;
    const float value = w->at(0, row, 5);
    w->set(0, row, 5, value + 1);
    EXPECT_EQ(status(t), CheckStatus::failed);
    EXPECT_EQ(status(t, CheckMode::sample), CheckStatus::failed);
    w->set(0, row, 5, value);
  }
  EXPECT_EQ(status(t), CheckStatus::passed);
}

TEST_F(LatentRunTest, ThePathsHaveTheSameStepAsOneDevice) {
  const auto alone = step(config_of(kLatentForms[0], Spread::none, DType::f32));
  const auto many = step(config_of(kLatentForms[0], Spread::fused, DType::f32));
  const BlockTensors a = alone->tensors(), b = many->tensors();
  for (int64_t t = 0; t < kOdd.tokens; ++t) {
    for (int64_t h = 0; h < kOdd.hidden; ++h) {
      EXPECT_NEAR(a.y.at(t, h), b.y.at(t, h), 1e-4f);
      EXPECT_NEAR(a.dx.at(t, h), b.dx.at(t, h), 1e-6f);
    }
  }
  EXPECT_DOUBLE_EQ(alone->executed_flops(), many->executed_flops());
  EXPECT_DOUBLE_EQ(alone->executed_flops(),
                   model_flops(a.shape, Pass::forward_backward, a.shape.assignments()));
}

// Rows of width H' travel, not rows of width H.
TEST_F(LatentRunTest, RowsThatTravelAreNarrow) {
  RunConfig config = config_of("silu", Spread::ragged_a2a, DType::f32);
  config.shape.shared_dim = 0;
  const auto moved = [&](const char* form) {
    config.shape.form = parse_expert_form(form);
    return step(config)->moved_bytes()[static_cast<size_t>(Move::dispatch)];
  };
  EXPECT_EQ(moved("silu,latent:15") * 45, moved("silu") * 15);
}

TEST_F(LatentRunTest, PathsWithoutItRefuseIt) {
  for (const Spread path : {Spread::dp, Spread::compact_psum, Spread::dense_masked})
    EXPECT_THROW(factory_.make(config_of(kLatentForms[0], path, DType::f32)), InputError) << name_of(path);
  RunConfig config = config_of(kLatentForms[0], Spread::none, DType::f32);
  config.block.pass = Pass::forward;
  config.block.prequeue = true;
  EXPECT_THROW(factory_.make(config), InputError);
}

}  // namespace
}  // namespace moehill

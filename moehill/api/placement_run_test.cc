// Tests of experts placed by hand, with and without copies: results pass the check on every path, and planted
// faults do not.
#include <gtest/gtest.h>

#include "moehill/api/run_fixture.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

class PlacementRunTest : public RunFixture {
 protected:
  static RunConfig config_of(Spread spread, int devices, DType dtype, std::vector<int32_t> placement) {
    RunConfig config{.shape = kOdd};
    config.shape.dtype = dtype;
    config.spread = spread;
    config.num_devices = devices;
    config.placement = std::move(placement);
    config.block.router_grad = true;
    return config;
  }
};

TEST_F(PlacementRunTest, AnyOrderAndAnyCopiesAreRight) {
  const std::vector<int64_t> load = {9, 1, 5, 2, 8, 1, 3};
  for (const int devices : {2, 3, 4}) {
    for (const int copies : {0, 1, 5, 7 * (devices - 1)}) {
      for (const Spread path : kEpPaths) {
        for (const DType dtype : {DType::f32, DType::bf16}) {
          const auto run =
              step(config_of(path, devices, dtype, greedy_placement(load, devices, copies).expert));
          const CheckResult result = check(run->tensors());
          EXPECT_TRUE(result.numbers_ok) << name_of(path) << " P=" << devices << " copies " << copies << " "
                                         << name_of(dtype) << ": " << result.reason;
          EXPECT_FALSE(run->copies_differ());
        }
      }
    }
  }
}

TEST_F(PlacementRunTest, CopiesOfExpertsWithBiasesAreRight) {
  for (const Spread path : kEpPaths) {
    RunConfig config = config_of(path, 3, DType::f32, greedy_placement({9, 1, 5, 2, 8, 1, 3}, 3, 5).expert);
    config.shape.form = parse_expert_form("swiglu-oai,limit:7,biases");
    const auto run = step(config);
    const CheckResult result = check(run->tensors());
    EXPECT_TRUE(result.numbers_ok) << name_of(path) << ": " << result.reason;
    EXPECT_FALSE(run->copies_differ()) << name_of(path);
  }
}

// Copies of an expert on all devices have equal weights, and their gradients are equal to the gradients of a
// single place: f32 sums of equal terms.
TEST_F(PlacementRunTest, TheSameStepAsWithoutAPlacement) {
  const auto plain = step(config_of(Spread::ragged_a2a, 3, DType::f32, {}));
  std::vector<float> y;
  for (int64_t t = 0; t < kOdd.tokens; ++t) {
    for (int64_t h = 0; h < kOdd.hidden; ++h) y.push_back(plain->tensors().y.at(t, h));
  }
  const auto placed = step(
      config_of(Spread::ragged_a2a, 3, DType::f32, greedy_placement({9, 1, 5, 2, 8, 1, 3}, 3, 5).expert));
  EXPECT_EQ(placed->routing().expert, plain->routing().expert);
  size_t i = 0;
  for (int64_t t = 0; t < kOdd.tokens; ++t) {
    for (int64_t h = 0; h < kOdd.hidden; ++h) EXPECT_NEAR(placed->tensors().y.at(t, h), y[i++], 1e-5);
  }
}

TEST_F(PlacementRunTest, CopiesShareTheLoad) {
  const auto run =
      step(config_of(Spread::fused, 2, DType::f32, greedy_placement({100, 1, 1, 1, 1, 1, 1}, 2, 1).expert));
  const std::vector<int64_t> load = expert_load(run->routing()), placed = expert_load(run->placed_routing());
  std::vector<int64_t> of_expert_0;
  for (size_t p = 0; p < placed.size(); ++p) {
    if (run->config().placement[p] == 0) of_expert_0.push_back(placed[p]);
  }
  ASSERT_EQ(of_expert_0.size(), 2u);
  EXPECT_EQ(of_expert_0[0] + of_expert_0[1], load[0]);
  EXPECT_LE(std::abs(of_expert_0[0] - of_expert_0[1]), 1);
}

// Planted faults: a place with the weights of another expert, and a copy whose gradient was not summed.
TEST_F(PlacementRunTest, TheCheckSeesAWrongPlaceAndAWrongSum) {
  const std::vector<int32_t> placement = greedy_placement({9, 1, 5, 2, 8, 1, 3}, 2, 2).expert;
  const auto run = step(config_of(Spread::fused, 2, DType::f32, placement));
  BlockTensors tensors = run->tensors();
  std::vector<int32_t> places(tensors.weights.w1.place_of, tensors.weights.w1.place_of + kOdd.experts);
  std::swap(places[0], places[1]);
  tensors.weights.w1.place_of = places.data();
  ThreadTeam team(1);
  EXPECT_EQ(check_block(tensors, Pass::forward_backward, CheckMode::full, 0, team).status,
            CheckStatus::failed);

  ASSERT_FALSE(run->copies_differ());
  for (size_t p = 0; p < placement.size(); ++p) {
    if (home_places({placement})[p] == static_cast<int32_t>(p)) continue;
    LogicalWeights dw2 = run->tensors().gradients.w2;
    dw2.place_of = nullptr;
    dw2.set(static_cast<int64_t>(p), 0, 0, dw2.at(static_cast<int64_t>(p), 0, 0) + 1);
    EXPECT_TRUE(run->copies_differ());
    dw2.set(static_cast<int64_t>(p), 0, 0, dw2.at(static_cast<int64_t>(p), 0, 0) - 1);
  }
}

}  // namespace
}  // namespace moehill

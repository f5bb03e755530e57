// Tests of how a configuration reaches the performance model: where rows are read in place, in which cases
// they travel in waves, and what is counted on one node.
#include "moehill/parallel/work_problem.h"

#include <gtest/gtest.h>

#include "moehill/model/flight.h"
#include "moehill/parallel/path.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

RunConfig on_devices(Spread spread, int num_devices) {
  RunConfig config{.shape = {64, 32, 16, 16, 2, 0, DType::bf16}, .spread = spread};
  config.num_devices = num_devices;
  return config;
}

// A mesh of threads on one node has no list of its ranks.
TEST(PlanCounts, OneNodeWithoutRanksIsCountedOnTwoLevels) {
  const RunConfig config = on_devices(Spread::hierarchical, 4);
  const Routing routing = route_topk(make_logits({}, 64, 16, 2, 1), 64, 16, 2);
  const WorkProblem problem = work_problem(config);
  const std::vector<DeviceWork> work = all_work(problem, plan_counts(config, routing, Nodes()));
  const std::vector<DeviceWork> known = all_work(problem, plan_counts(config, routing));
  ASSERT_EQ(work.size(), 4u);
  for (size_t d = 0; d < 4; ++d) {
    EXPECT_GT(work[d].sent_bytes(), 0);
    EXPECT_EQ(work[d].sent_bytes(), known[d].sent_bytes());
    EXPECT_EQ(work[d].received_bytes(), known[d].received_bytes());
  }
}

TEST(PlacedProblem, RowsAreReadInPlaceByDevicesThatShareMemory) {
  const Hardware node = load_hardware("epyc-cluster");
  for (const Spread spread : kEpPaths) {
    const bool reads = spread == Spread::fused || spread == Spread::ring_ag_rs;
    EXPECT_EQ(placed_problem(on_devices(spread, 4), node).in_place, reads) << name_of(spread);
    EXPECT_FALSE(placed_problem(on_devices(spread, 4), node, DeviceMemory::apart).in_place);
    EXPECT_FALSE(placed_problem(on_devices(spread, 16), node).in_place) << "they are on two nodes";
    EXPECT_FALSE(placed_problem(on_devices(spread, 4), load_hardware("h100-node")).in_place);
  }
  const RunConfig fused = on_devices(Spread::fused, 4);
  EXPECT_TRUE(placed_problem(fused, load_hardware("epyc-2-core")).in_place) << "they share its cores";
  RunConfig waves = fused;
  waves.num_waves = 2;
  EXPECT_FALSE(placed_problem(waves, node).in_place);
  EXPECT_EQ(device_memory(MeshKind::mpi), DeviceMemory::apart);
  EXPECT_EQ(device_memory(MeshKind::threads), DeviceMemory::shared);
}

TEST(WorkProblem, FusedGoesInWavesWhereItsBlockSplitsRows) {
  std::vector<RunConfig> configs(6, on_devices(Spread::fused, 4));
  configs[1].block.pack = PackStrategy::expert_score_sort;
  configs[2].block.expert_by_expert = true;
  configs[3].block.remat = Remat::expert_mlp;
  configs[4].block.backend = Backend::ragged_dot;
  configs[5].block.impl = Impl::baseline;
  for (size_t i = 0; i < configs.size(); ++i) {
    EXPECT_EQ(goes_in_waves(work_problem(configs[i])), i == 0) << i;
    EXPECT_EQ(block_spec(configs[i], 0).can_split_rows(), i == 0) << i;
  }
}

}  // namespace
}  // namespace moehill

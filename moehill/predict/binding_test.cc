// Tests that the level which limits a step is named in words, and that the two-level exchange is predicted to
// be faster where the network is the limit.
#include "moehill/predict/binding.h"

#include <gtest/gtest.h>

#include "moehill/predict/prediction.h"

namespace moehill {
namespace {

double of(const LevelSeconds& seconds, Level level) { return seconds[static_cast<size_t>(level)]; }

TEST(Binding, EachPartOfAStageHasItsLevel) {
  StagePrediction stage;
  stage.gemm_s = 1;
  stage.rows_s = 2;
  stage.link_s = 12;
  stage.network_s = 8;
  stage.hidden_s = 3;
  stage.wait_s = 5;
  stage.overhead_s = 6;
  LevelSeconds seconds = level_seconds(stage);
  EXPECT_EQ(of(seconds, Level::compute), 1);
  EXPECT_EQ(of(seconds, Level::memory), 2);
  EXPECT_EQ(of(seconds, Level::network), 5);
  EXPECT_EQ(of(seconds, Level::node), 4);
  EXPECT_EQ(of(seconds, Level::rank), 5);
  EXPECT_EQ(of(seconds, Level::overhead), 6);
  stage.memory_bound = true;
  seconds = level_seconds(stage);
  EXPECT_EQ(of(seconds, Level::compute), 0);
  EXPECT_EQ(of(seconds, Level::memory), 3);
}

TEST(Binding, IsTheLargestAndIsNamedFirst) {
  LevelSeconds seconds{};
  seconds[static_cast<size_t>(Level::network)] = 0.0123;
  seconds[static_cast<size_t>(Level::memory)] = 0.004;
  seconds[static_cast<size_t>(Level::rank)] = 0.00001;
  EXPECT_EQ(binding_level(seconds), Level::network);
  EXPECT_EQ(binding_text(seconds),
            "bound by the network: rows between nodes: 12.300 of 16.310 ms; then memory 4.000");
}

TEST(Binding, OfANetworkIsWhatTwoLevelsTakeLess) {
  Hardware cluster = load_hardware("epyc-cluster");
  cluster.topology.levels[1].bytes_per_s = 125e6;
  const int per_node = cluster.topology.devices_per_node;
  RunConfig config{.shape = {4096, 2048, 256, 64, 8, 0, DType::bf16},
                   .spread = Spread::ragged_a2a,
                   .ranks_per_node = per_node,
                   .num_devices = 4 * per_node,
                   .threads_per_device = cluster.units_per_device};
  const Routing routing = routing_of(config.shape, {}, 1);
  const std::vector<RankedPath> ranked = rank_paths(config, routing, cluster);
  double ragged = 0, hierarchical = 0;
  for (const RankedPath& path : ranked) {
    if (path.path == Spread::ragged_a2a) {
      ragged = path.prediction.time_s;
      EXPECT_EQ(binding_level(level_seconds(path.prediction)), Level::network);
    }
    if (path.path == Spread::hierarchical) hierarchical = path.prediction.time_s;
  }
  EXPECT_GT(hierarchical, 0);
  EXPECT_LT(hierarchical, ragged);
  // On one node, the two-level exchange is not among the candidates.
  config.num_devices = per_node;
  config.ranks_per_node = 0;
  for (const RankedPath& path : rank_paths(config, routing, cluster))
    EXPECT_NE(path.path, Spread::hierarchical);
}

}  // namespace
}  // namespace moehill

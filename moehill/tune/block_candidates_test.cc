// Tests of the candidates: they are legal, fit into the caches and differ from one another, and the model
// tells what a block costs.
#include "moehill/tune/block_candidates.h"

#include <gtest/gtest.h>

#include <set>

namespace moehill {
namespace {

BlockProblem problem(int64_t hidden, int64_t width, double rows) {
  BlockProblem p;
  p.shape = {4096, hidden, width, 64, 8, 0, DType::bf16};
  p.group_rows = rows;
  p.topology.l1d_bytes = 32 << 10;
  p.topology.l2_bytes = 512 << 10;
  p.topology.l3_bytes = 32 << 20;
  p.topology.num_l3 = 1;
  p.topology.num_cores = 2;
  return p;
}

TEST(BlockCandidates, TheDefaultIsFirstAndAllAreLegalAndFit) {
  for (const auto& [hidden, width] :
       {std::pair<int64_t, int64_t>{2048, 1408}, {48, 40}, {7168, 2048}, {33, 17}}) {
    const BlockProblem p = problem(hidden, width, 100);
    const std::vector<BlockSizes> sets = block_candidates(p, 12);
    ASSERT_FALSE(sets.empty());
    EXPECT_LE(sets.size(), 13u);
    EXPECT_EQ(sets[0], BlockSizes{});
    std::set<std::string> texts;
    for (size_t i = 0; i < sets.size(); ++i) {
      EXPECT_NO_THROW(refuse_illegal_blocks(sets[i])) << to_string(sets[i]);
      EXPECT_TRUE(texts.insert(to_string(sets[i])).second);
      if (i == 0) continue;
      for (const WorkingSet& set : working_sets(sets[i], p.shape, p.tile_rows, p.topology))
        EXPECT_TRUE(set.fits()) << to_string(sets[i]) << " " << set.what;
    }
  }
}

TEST(BlockCandidates, WithoutCachesToKnowThereAreStillSome) {
  BlockProblem p = problem(2048, 1408, 100);
  p.topology = {};
  EXPECT_GT(block_candidates(p, 12).size(), 2u);
}

TEST(BlockCost, WeightsReadAgainCost) {
  const BlockProblem p = problem(2048, 2048, 500);
  BlockSizes few;
  few.bt = few.btc = 48;
  EXPECT_GT(block_cost(few, p), 1.1 * block_cost({}, p));
}

TEST(BlockCost, PartialSumsCost) {
  const BlockProblem p = problem(4096, 2048, 200);
  BlockSizes deep;
  deep.bd1 = 4096;
  EXPECT_LT(block_cost(deep, p), block_cost({}, p));
}

}  // namespace
}  // namespace moehill

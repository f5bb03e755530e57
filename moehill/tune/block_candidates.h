// Block candidates are the sets of block sizes that a model of the caches finds worth measuring for a shape.
// The model proposes; the measurement decides (tune/block_tuner.h).
//
//     const auto candidates = block_candidates({shape, rows, gmm_tile_rows(), topology}, /*num_others=*/12);
//     candidates[0];   // the default
#pragma once

#include <vector>

#include "moehill/tune/block_report.h"

namespace moehill {

// BlockProblem is the part of a grouped GEMM that a thread works on.
struct BlockProblem {
  MoeShape shape;
  double group_rows = 0;  // mean rows of an expert on a device
  int tile_rows = 6;      // of a register tile
  Topology topology;
};

// Returns the seconds that the products of one group lose between the caches, by the model in docs/metrics.md
// ("Tuned blocks"). The figure serves to order sets and is no prediction of a time.
double block_cost(const BlockSizes& sizes, const BlockProblem& problem);

// Returns the default first, then at most `num_others` legal sets in the order of rising cost. Their working
// sets fit the caches, as far as these are known. No two act alike on the shape.
std::vector<BlockSizes> block_candidates(const BlockProblem& problem, int num_others);

}  // namespace moehill

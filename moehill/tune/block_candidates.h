// Block candidates: sets of block sizes worth measuring for a shape, from a model of the caches.
#pragma once

#include <vector>

#include "moehill/tune/block_report.h"

namespace moehill {

// The part of a grouped GEMM that a thread works on.
struct BlockProblem {
  MoeShape shape;
  double group_rows = 0;  // mean rows of an expert on a device
  int tile_rows = 6;      // of a register tile
  Topology topology;
};

// Seconds by the model in docs/metrics.md ("Block candidates") that one group's products lose between the
// caches: an order among sets, not a time.
double block_cost(const BlockSizes& sizes, const BlockProblem& problem);

// The default first, then at most `num_others` legal sets whose working sets fit the caches (where they are
// known), by rising cost. No two act alike on the shape.
std::vector<BlockSizes> block_candidates(const BlockProblem& problem, int num_others);

}  // namespace moehill

// Block report compares the bytes that block sizes work on with the caches of the machine (--explain-blocks).
// It runs nothing.
//
//     fmt::print("{}", explain_blocks(BlockSizes{}, shape, detect_topology()));
#pragma once

#include <string>

#include "moehill/block/shape.h"
#include "moehill/kernels/block_sizes.h"
#include "moehill/machine/topology.h"

namespace moehill {

// WorkingSet is the bytes that a block works on (docs/metrics.md), and the cache into which they should fit.
struct WorkingSet {
  std::string what, formula;
  int64_t bytes;
  std::string cache;    // "L1d", "L2", "L3 a core"
  int64_t cache_bytes;  // 0: not known
  bool fits() const { return cache_bytes == 0 || bytes <= cache_bytes; }
};
std::vector<WorkingSet> working_sets(const BlockSizes& sizes, const MoeShape& shape, int tile_rows,
                                     const Topology& topology);

std::string explain_blocks(const BlockSizes& sizes, const MoeShape& shape, const Topology& topology);

}  // namespace moehill

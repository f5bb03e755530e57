// Implementation of tune/block_candidates.h: the cost model, the working sets that must fit the caches, and
// the order of the sets.
#include "moehill/tune/block_candidates.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

// The first three are bytes per second that one core gets from each level. The last is the seconds that a
// tile call costs beside its products. All are figures of one Zen 3 core (docs/performance.md). They only put
// candidates in an order; the measurement decides.
constexpr double kL2 = 81e9, kL3 = 28e9, kMemory = 12e9, kTileCall = 12e-9;
constexpr int64_t kSums = sizeof(float);

double pieces(double whole, int64_t part) { return std::ceil(whole / static_cast<double>(part)); }

// Returns the cost of rows [R, depth] times a matrix [depth, columns].
double product_cost(const ProductBlocks& b, double depth, double columns, const BlockProblem& problem) {
  const Topology& topology = problem.topology;
  const double rows = problem.group_rows, panels = columns / kPanelWidth;
  const double unit_rows = std::min(rows, static_cast<double>(b.rows));
  const double call_rows = std::min(rows, static_cast<double>(b.call_rows));
  const double call_depth = std::min(depth, static_cast<double>(b.call_depth));
  const double num_calls = pieces(depth, b.call_depth);
  const double pass_columns = std::min(columns, static_cast<double>(b.pass_panels * kPanelWidth));
  const auto level = [](double bytes, int64_t cache, double inside, double outside) {
    return cache == 0 || bytes <= static_cast<double>(cache) ? inside : outside;
  };
  const double rows_rate = level(call_rows * call_depth * kSums, topology.l2_bytes, kL2, kL3);
  const double tiles_rate = level(unit_rows * pass_columns * kSums, topology.l2_bytes, kL2, kL3);

  // Each term but the last is bytes over the rate of the cache that holds them; the last is the cost of the
  // tile calls. Weights are read once for each block of rows, rows are packed once for each unit, packed rows
  // are read once for each panel, and tiles and partial sums are read once for each pass that returns to
  // them.
  const double weights = depth * columns * 2 * pieces(rows, b.rows) / kMemory;
  const double packing = rows * depth * (2 + kSums) * pieces(panels, b.unit_panels) / kL3;
  const double packed = rows * depth * kSums * panels / rows_rate;
  const double tiles = rows * columns * 2 * kSums * (num_calls - 1) / tiles_rate;
  const double partial = rows * columns * 2 * kSums * (pieces(depth, b.depth) - 1) / kL3;
  const double calls = pieces(rows, problem.tile_rows) * panels * num_calls * kTileCall;
  return weights + packing + packed + tiles + partial + calls;
}

// Returns the set with every block cut at the end of the matrix, so that sets that act alike become equal.
BlockSizes clipped(BlockSizes s, const MoeShape& shape) {
  const auto up_to = [](int64_t size, int64_t n, int64_t step) {
    return std::min(size, (n + step - 1) / step * step);
  };
  s.bd1 = std::max<int64_t>(32, up_to(s.bd1, shape.expert_hidden(), 32));
  s.bf = std::max<int64_t>(64, up_to(s.bf, shape.mlp_dim, 32));
  s.bd2 = std::max<int64_t>(128, up_to(s.bd2, shape.expert_hidden(), 16));
  s.btc = std::min(s.btc, s.bt);
  s.bfc = std::min(s.bfc, s.bf);
  s.bd1c = std::min(s.bd1c, s.bd1);
  s.bd2c = std::min({s.bd2c, s.bd2, 2 * s.bf});
  return s;
}

bool legal(const BlockSizes& sizes) {
  try {
    refuse_illegal_blocks(sizes);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

bool fits(const BlockSizes& sizes, const BlockProblem& problem) {
  const auto sets = working_sets(sizes, problem.shape, problem.tile_rows, problem.topology);
  return std::all_of(sets.begin(), sets.end(), [](const WorkingSet& set) { return set.fits(); });
}

std::vector<BlockSizes> grid() {
  std::vector<BlockSizes> sets;
  for (const int64_t bt : {48, 96, 144, 288, 576}) {
    for (const int64_t depth : {1024, 2048, 4096}) {
      for (const int64_t call_depth : {128, 256, 512}) {
        for (const int64_t pass : {64, 128, 256}) {
          for (const int64_t call_rows : {bt, bt / 2}) {
            sets.push_back({bt, depth, depth, 4096, call_rows, call_depth, call_depth, pass});
          }
        }
      }
    }
  }
  return sets;
}

}  // namespace

double block_cost(const BlockSizes& sizes, const BlockProblem& problem) {
  const double hidden = static_cast<double>(problem.shape.expert_hidden()),
               width = static_cast<double>(problem.shape.mlp_dim);
  return product_cost(blocks_of(sizes, Product::to_width), hidden, 2 * width, problem) +
         product_cost(blocks_of(sizes, Product::to_hidden), width, hidden, problem);
}

std::vector<BlockSizes> block_candidates(const BlockProblem& problem, int num_others) {
  std::vector<BlockSizes> others;
  for (const BlockSizes& set : grid()) {
    const BlockSizes s = clipped(set, problem.shape);
    if (!legal(s) || !fits(s, problem) || s == clipped({}, problem.shape)) continue;
    if (std::find(others.begin(), others.end(), s) == others.end()) others.push_back(s);
  }
  std::stable_sort(others.begin(), others.end(), [&](const BlockSizes& a, const BlockSizes& b) {
    return block_cost(a, problem) < block_cost(b, problem);
  });
  if (std::ssize(others) > num_others) others.resize(static_cast<size_t>(num_others));
  others.insert(others.begin(), BlockSizes{});
  return others;
}

}  // namespace moehill

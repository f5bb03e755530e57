#include "moehill/kernels/gemm_units.h"

#include <algorithm>

namespace moehill {
namespace {

// With 12 units a thread the wait at the end is about a 24th of a thread's work at worst, and less since
// small units come last.
constexpr int64_t kUnitsPerThread = 12;
constexpr int64_t kMinUnitsPerThread = 2;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t cost(const GemmUnit& unit) {
  return (unit.row_end - unit.row_begin + 1) * (unit.panel_end - unit.panel_begin);
}

}  // namespace

UnitQueue::UnitQueue(const GemmLimits& limits, int64_t max_block_rows) {
  const int64_t row_blocks = limits.max_groups + limits.max_rows / std::max<int64_t>(1, max_block_rows);
  const int64_t panels = ceil_div(limits.max_depth, kPanelWidth);
  units_.reserve(static_cast<size_t>(row_blocks * ceil_div(panels, kMinUnitPanels)));
}

void UnitQueue::fill(const GroupRows& groups, const UnitCut& cut, int num_threads) {
  units_.clear();
  next_.store(0, std::memory_order_relaxed);
  const int64_t all_rows = std::max<int64_t>(1, groups.num_rows());
  const auto splits_for = [&](int64_t rows, int64_t units_per_thread) {
    if (num_threads == 1) return int64_t{1};
    const int64_t all = all_rows * cut.num_panels;
    return ceil_div(rows * cut.num_panels, std::max<int64_t>(1, all / (units_per_thread * num_threads)));
  };
  for (int64_t g = 0; g < groups.size(); ++g) {
    const int64_t rows = groups[g].size();
    if (rows == 0 && !cut.keep_empty) continue;
    const int64_t row_blocks = cut.max_rows > 0 ? std::max<int64_t>(1, ceil_div(rows, cut.max_rows)) : 1;
    const int64_t max_panels = rows > cut.tall_rows ? cut.max_panels_tall : cut.max_panels;
    for (int64_t rb = 0; rb < row_blocks; ++rb) {
      const Range block = share(rows, rb, row_blocks);
      const int64_t wanted =
          std::min(splits_for(block.size(), kUnitsPerThread), cut.num_panels / cut.min_panels);
      int64_t splits = std::max(wanted, splits_for(block.size(), kMinUnitsPerThread));
      splits = std::min(splits, std::max<int64_t>(1, cut.num_panels / kMinUnitPanels));
      // Cut between pairs of panels, since some tiles span two.
      const int64_t pairs = ceil_div(cut.num_panels, 2);
      const int64_t fewest =
          max_panels < cut.num_panels ? ceil_div(pairs, std::max<int64_t>(1, max_panels / 2)) : 1;
      splits = std::max(splits, fewest);
      for (int64_t i = 0; i < splits; ++i) {
        const Range part = share(pairs, i, splits);
        units_.push_back({static_cast<int32_t>(g), groups[g].begin + block.begin, groups[g].begin + block.end,
                          static_cast<int32_t>(2 * part.begin),
                          static_cast<int32_t>(std::min(2 * part.end, cut.num_panels))});
      }
    }
  }
  std::sort(units_.begin(), units_.end(), [](const GemmUnit& a, const GemmUnit& b) {
    const int64_t cost_a = cost(a), cost_b = cost(b);
    if (cost_a != cost_b) return cost_a > cost_b;
    return a.row_begin != b.row_begin ? a.row_begin < b.row_begin : a.panel_begin < b.panel_begin;
  });
}

}  // namespace moehill

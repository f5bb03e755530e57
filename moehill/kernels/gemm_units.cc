// Cuts the products of a grouped GEMM into units of work (gemm_units.h), so that few units are packed and all
// threads finish at about the same time.
#include "moehill/kernels/gemm_units.h"

#include <algorithm>

namespace moehill {
namespace {

// A unit is at most 1 / kPartOfShare of a thread's share of the work that is left.
constexpr int64_t kPartOfShare = 2;

// A block of fewer rows takes as long as a block of 8 rows, because reading the weights takes most of its
// time.
constexpr int64_t kStreamedRows = 8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Returns the work of one panel of this block, in rows.
int64_t cost(const GemmUnit& block) { return std::max(kStreamedRows, block.row_end - block.row_begin); }

}  // namespace

UnitQueue::UnitQueue(const GemmLimits& limits, int64_t max_block_rows) {
  const int64_t row_blocks = limits.max_groups + limits.max_rows / std::max<int64_t>(1, max_block_rows);
  const int64_t panels = ceil_div(limits.max_depth, kPanelWidth);
  blocks_.reserve(static_cast<size_t>(row_blocks));
  units_.reserve(static_cast<size_t>(row_blocks * ceil_div(panels, kMinUnitPanels)));
}

// Lists the blocks of rows, the largest first, so that the last units to be taken are small.
void UnitQueue::list_blocks(const GroupRows& groups, const UnitCut& cut) {
  blocks_.clear();
  for (int64_t g = 0; g < groups.size(); ++g) {
    const int64_t rows = groups[g].size();
    if (rows == 0 && !cut.keep_empty) continue;
    const int64_t num_blocks = cut.max_rows > 0 ? std::max<int64_t>(1, ceil_div(rows, cut.max_rows)) : 1;
    for (int64_t i = 0; i < num_blocks; ++i) {
      const Range block = share(rows, i, num_blocks);
      blocks_.push_back({static_cast<int32_t>(g), groups[g].begin + block.begin, groups[g].begin + block.end,
                         0, static_cast<int32_t>(cut.num_panels)});
    }
  }
  std::sort(blocks_.begin(), blocks_.end(), [](const GemmUnit& a, const GemmUnit& b) {
    const int64_t rows_a = a.row_end - a.row_begin, rows_b = b.row_end - b.row_begin;
    return rows_a != rows_b     ? rows_a > rows_b
           : a.group != b.group ? a.group < b.group
                                : a.row_begin < b.row_begin;
  });
}

// Walks over the blocks and cuts each into units of panels. A unit gets a fraction of the work that is left
// at that moment, so units become smaller towards the end of the queue and threads finish together.
void UnitQueue::fill(const GroupRows& groups, const UnitCut& cut, int num_threads) {
  units_.clear();
  next_.store(0, std::memory_order_relaxed);
  list_blocks(groups, cut);
  int64_t left = 0;
  for (const GemmUnit& block : blocks_) left += cost(block) * cut.num_panels;
  // min_panels is cut.min_panels, or less (but at least kMinUnitPanels) where so large a unit would be more
  // than a fair part of one thread's work.
  const int64_t parts = kPartOfShare * num_threads, largest = left / parts;
  for (const GemmUnit& block : blocks_) {
    const bool tall = block.row_end - block.row_begin > cut.tall_rows;
    const int64_t max_panels = tall ? cut.max_panels_tall : cut.max_panels;
    const int64_t min_panels =
        std::clamp(largest / cost(block), kMinUnitPanels, std::max(kMinUnitPanels, cut.min_panels));
    for (int64_t panel = 0; panel < cut.num_panels;) {
      const int64_t rest = cut.num_panels - panel;
      // `least` spreads the rest evenly, so that no small remainder is left over. A single thread needs no
      // cut at all.
      const int64_t least = ceil_div(rest, std::max<int64_t>(1, rest / min_panels));
      const int64_t wanted = num_threads == 1 ? rest : left / parts / cost(block);
      int64_t panels = std::min(rest, std::max(least, wanted));
      // The cut lies between pairs of panels, because some tiles span two panels.
      panels = round_up(panels, 2);
      if (rest - panels < min_panels) panels = rest;
      if (panels > max_panels) panels = std::max<int64_t>(2, max_panels / 2 * 2);
      units_.push_back(block);
      units_.back().panel_begin = static_cast<int32_t>(panel);
      units_.back().panel_end = static_cast<int32_t>(panel + panels);
      left -= cost(block) * panels;
      panel += panels;
    }
  }
}

}  // namespace moehill

// This header cuts a grouped GEMM into units of work: blocks of (group, rows, panels of 16 columns) that
// threads take from a common queue. The cut decides which thread computes what, and never changes the result.
//
//   queue.fill(groups, {.num_panels = w.num_panels(), .max_rows = 288, .max_panels = 128}, team.size());
//   team.run([&](int) { while (const GemmUnit* unit = queue.take()) multiply(*unit); });
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// GemmUnit is some rows of one group times some panels of the group's matrix.
struct GemmUnit {
  int32_t group;
  int64_t row_begin, row_end;      // counted over the rows of all groups
  int32_t panel_begin, panel_end;  // columns of the result / 16
};

// The cut avoids units of fewer panels than this, because packing the rows of a unit does not pay for fewer
// columns. The last unit of a block may still have fewer.
inline constexpr int64_t kMinUnitPanels = 4;

// UnitCut is the rule of cutting. A block has at most max_rows rows of a group (0: all of them) and at most
// max_panels panels, or max_panels_tall in a group of more than tall_rows rows. Units of fewer than
// min_panels panels are made only if threads would otherwise be idle. With keep_empty, empty groups get units
// too, because a thread must write their zeros.
struct UnitCut {
  int64_t num_panels;
  int64_t max_rows;
  int64_t max_panels;
  int64_t tall_rows = INT64_MAX;
  int64_t max_panels_tall = INT64_MAX;
  int64_t min_panels = kMinUnitPanels;
  bool keep_empty = false;
};

// UnitQueue is a queue of units, refilled for each product. The largest units come first, and each is a
// fraction of the work that is left, so that there are few units to pack and the threads finish together.
// Each element of the result is the same sum in any cut, so results do not depend on the cut or on the number
// of threads.
class UnitQueue {
 public:
  // Reserves memory for the largest problem; fill() then allocates nothing.
  UnitQueue(const GemmLimits& limits, int64_t max_block_rows);

  void fill(const GroupRows& groups, const UnitCut& cut, int num_threads);

  int64_t num_units() const { return static_cast<int64_t>(units_.size()); }
  const std::vector<GemmUnit>& units() const { return units_; }

  // Returns the next unit, or null if the queue is empty. Thread-safe.
  const GemmUnit* take() {
    const size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    return i < units_.size() ? &units_[i] : nullptr;
  }

 private:
  void list_blocks(const GroupRows& groups, const UnitCut& cut);

  std::vector<GemmUnit> blocks_;  // blocks of rows with all their columns
  std::vector<GemmUnit> units_;
  std::atomic<size_t> next_{0};
};

}  // namespace moehill

// Units of grouped-GEMM work: blocks of (group, rows, panels of 16 columns) that threads take from a common
// queue.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

struct GemmUnit {
  int32_t group;
  int64_t row_begin, row_end;      // of all rows
  int32_t panel_begin, panel_end;  // output columns / 16
};

// Fewer columns a unit never pay for packing its rows.
inline constexpr int64_t kMinUnitPanels = 4;

// The rule of cutting: rows of a group into blocks of at most max_rows (0: never), columns into blocks of at
// most max_panels, or max_panels_tall in groups of more than tall_rows rows. min_panels: the cut gets finer
// than that only where threads would be idle. keep_empty: empty groups get units too.
struct UnitCut {
  int64_t num_panels;
  int64_t max_rows;
  int64_t max_panels;
  int64_t tall_rows = INT64_MAX;
  int64_t max_panels_tall = INT64_MAX;
  int64_t min_panels = kMinUnitPanels;
  bool keep_empty = false;
};

// A queue of units, the largest first and each a part of what is left, so that few units are packed and the
// threads finish together. What a unit computes does not depend on how the work was cut, so neither do the
// results.
class UnitQueue {
 public:
  UnitQueue(const GemmLimits& limits, int64_t max_block_rows);

  void fill(const GroupRows& groups, const UnitCut& cut, int num_threads);

  int64_t num_units() const { return static_cast<int64_t>(units_.size()); }
  const std::vector<GemmUnit>& units() const { return units_; }

  // The next unit, or null when the queue is empty. Thread-safe.
  const GemmUnit* take() {
    const size_t i = next_.fetch_add(1, std::memory_order_relaxed);
    return i < units_.size() ? &units_[i] : nullptr;
  }

 private:
  void list_blocks(const GroupRows& groups, const UnitCut& cut);

  std::vector<GemmUnit> blocks_;  // of rows, all columns
  std::vector<GemmUnit> units_;
  std::atomic<size_t> next_{0};
};

}  // namespace moehill

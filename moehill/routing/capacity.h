// Capacity: how many assignments an expert takes, which ones it takes, and what becomes of the others.
//
// Assignments meet in cells: those of the tokens of one source to the experts of one pool. A cell has C rows
// for each of its experts and keeps the first so many in order. What is past that overflows: with spares it
// goes to the first of the token's next choices whose cell has a row left, else it is dropped. Choices come
// before spills: no spilled assignment takes a row that a choice wants.
#pragma once

#include <array>
#include <cstdint>

namespace moehill {

enum class CapacityPolicy { none, drop, pad };
constexpr auto words(CapacityPolicy) { return std::array{"none", "drop", "pad"}; }

enum class CapacityOrder {
  position,  // by token, then by choice
  gate,      // by falling gate value, ties by position
};
constexpr auto words(CapacityOrder) { return std::array{"position", "gate"}; }

struct Capacity {
  CapacityPolicy policy = CapacityPolicy::none;
  double factor = 0;  // C = ceil(factor * T * k / (sources * E)) rows per expert; unused with `none`
  int64_t rows = 0;   // C itself, where a plan is of a part of the assignments; 0: by the factor
  // These are of `drop`, and the same on any device.
  CapacityOrder order = CapacityOrder::position;
  int pool = 1;     // so many neighbouring experts share their rows; the last pool may have fewer
  int sources = 1;  // shares of the tokens, each with rows of its own
  int spares = 0;   // next choices that an overflowing assignment tries

  // The rule that PlanBuilder knows by itself: the first C of each expert.
  bool is_plain() const {
    return order == CapacityOrder::position && pool == 1 && sources == 1 && spares == 0;
  }
  // Returns true if one source's decisions rest on more of each assignment than how many came before it.
  bool needs_choices() const { return order == CapacityOrder::gate || spares > 0; }
  int num_pools(int num_experts) const { return (num_experts + pool - 1) / pool; }
};

// C; for `none` the largest possible, num_assignments. Throws InputError for a factor that is not positive,
// or so large that C does not fit a row number (int32).
int64_t capacity_rows(const Capacity& capacity, int64_t num_assignments, int num_experts);

// Rows of a pool: C for each expert that it has.
int64_t pool_rows(const Capacity& capacity, int64_t expert_rows, int pool, int num_experts);

}  // namespace moehill

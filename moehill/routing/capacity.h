// Capacity says how many assignments an expert takes, which ones it takes, and what becomes of the others.
// This header has the rule as a value; capacity_limiter.h applies it to a routing.
//
// Assignments are limited cell by cell. A cell is the assignments of the tokens of one source to the experts
// of one pool. It has C rows for each of its experts and keeps the first assignments in order. The others
// overflow. With spares, an overflowing assignment goes to the first of the token's next choices whose cell
// has a row left; otherwise it is dropped. Choices come before spills: a spilled assignment never takes a row
// that a choice wants.
//
//   const Capacity capacity{.policy = CapacityPolicy::drop, .factor = 1.25};
//   const int64_t rows = capacity_rows(capacity, num_tokens * topk, num_experts);
#pragma once

#include <array>
#include <cstdint>

namespace moehill {

enum class CapacityPolicy { none, drop, pad };
constexpr auto words(CapacityPolicy) { return std::array{"none", "drop", "pad"}; }

// CapacityOrder is the order in which the assignments of an expert get its rows; those at the end may get
// none.
enum class CapacityOrder {
  position,  // by token, then by choice
  gate,      // by falling gate value, ties by position
};
constexpr auto words(CapacityOrder) { return std::array{"position", "gate"}; }

// Capacity is the rule. `drop`: an assignment that overflows has no row. `pad`: in addition, every expert has
// exactly C rows, some of them empty.
struct Capacity {
  CapacityPolicy policy = CapacityPolicy::none;
  double factor = 0;  // C = ceil(factor * T * k / (sources * E)) rows per expert; unused with `none`
  int64_t rows = 0;   // C itself, for a plan of only a part of the assignments; 0: C follows from the factor
  // The rest is for `drop` only; it is the same on every device.
  CapacityOrder order = CapacityOrder::position;
  int pool = 1;     // this many neighbouring experts share their rows; the last pool may have fewer
  int sources = 1;  // number of shares of the tokens; each share has rows of its own
  int spares = 0;   // number of next choices that an overflowing assignment tries

  // True for the simple rule that PlanBuilder applies by itself: the first C assignments of each expert are
  // kept.
  bool is_plain() const {
    return order == CapacityOrder::position && pool == 1 && sources == 1 && spares == 0;
  }
  // True if the rule needs an assignment's gate value or its spares, and not only how many assignments came
  // before it.
  bool needs_choices() const { return order == CapacityOrder::gate || spares > 0; }
  int num_pools(int num_experts) const { return (num_experts + pool - 1) / pool; }
};

// Returns C. For `none` it is the largest possible number, num_assignments. Throws InputError for a factor
// that is not positive, or so large that C does not fit a row number (int32).
int64_t capacity_rows(const Capacity& capacity, int64_t num_assignments, int num_experts);

// Returns the rows of a pool: C for each of its experts.
int64_t pool_rows(const Capacity& capacity, int64_t expert_rows, int pool, int num_experts);

}  // namespace moehill

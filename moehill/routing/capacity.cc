#include "moehill/routing/capacity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {

namespace {

// Returns the ceiling of a positive quotient that was computed with at most four roundings. A factor like 1.1
// has no exact double, so that 1.1 * 100 / 10 is a little more than 11 and its own ceiling would be 12.
double ceiling(double quotient) {
  constexpr double kRoundings = 4 * std::numeric_limits<double>::epsilon();
  return std::ceil(quotient * (1 - kRoundings));
}

}  // namespace

int64_t capacity_rows(const Capacity& capacity, int64_t num_assignments, int num_experts) {
  if (capacity.policy == CapacityPolicy::none) return num_assignments;
  if (capacity.rows > 0) return capacity.rows;
  const double cells = static_cast<double>(capacity.sources) * num_experts;
  const double rows = ceiling(capacity.factor * static_cast<double>(num_assignments) / cells);
  if (!(capacity.factor > 0) || !(rows <= std::numeric_limits<int32_t>::max())) {
    throw input_error("--capacity-factor", fmt::format("{}", capacity.factor),
                      "above 0, with fewer than 2^31 rows per expert", "try 1.25");
  }
  return static_cast<int64_t>(rows);
}

int64_t pool_rows(const Capacity& capacity, int64_t expert_rows, int pool, int num_experts) {
  return expert_rows * std::min(capacity.pool, num_experts - pool * capacity.pool);
}

}  // namespace moehill

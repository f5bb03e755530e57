#include "moehill/moe/row_comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {

void RowComparison::add_row(int64_t index, std::span<const float> actual, std::span<const double> reference) {
  MOEHILL_CHECK(actual.size() == reference.size(), "a row of {} and a reference of {}", actual.size(),
                reference.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - reference[i];
    difference += d * d;
    norm += reference[i] * reference[i];
  }
  rows_.push_back({index, std::sqrt(difference), std::sqrt(norm)});
}

void RowComparison::add_rows(const RowComparison& other, int64_t first_index) {
  for (const Row& row : other.rows_)
    rows_.push_back({first_index + row.index, row.difference, row.reference});
}

double RowComparison::floor() const {
  std::vector<double> norms;
  for (const Row& row : rows_) {
    if (std::isfinite(row.reference) && row.reference > 0) norms.push_back(row.reference);
  }
  if (norms.empty()) return 0;
  const auto middle = norms.begin() + static_cast<int64_t>(norms.size() / 2);
  std::nth_element(norms.begin(), middle, norms.end());
  return floor_share_ * *middle;
}

double RowComparison::error(const Row& row, double floor) const {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (!std::isfinite(row.difference) || !std::isfinite(row.reference)) return kInfinite;
  if (row.reference > 0) return row.difference / std::max(row.reference, floor);
  return row.difference == 0 ? 0 : kInfinite;
}

RowComparison::Result RowComparison::result() const {
  Result result;
  const double floor_norm = floor();
  for (const Row& row : rows_) {
    const double rel_err = error(row, floor_norm);
    if (row.reference != 0) result.zero_reference = false;
    if (result.worst_index < 0 || rel_err > result.rel_err) {
      result.rel_err = rel_err;
      result.worst_index = row.index;
    }
  }
  return result;
}

}  // namespace moehill

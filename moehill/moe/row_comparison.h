// Comparison of a tensor with its reference row by row: the worst row decides, so that one lost token among
// 50,000 shows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/parcel.h"

namespace moehill {

// rel_err of a row: |row - ref| / max(|ref|, floor), L2 norms; of the tensor: the largest of its rows.
// floor = floor_share * median of |ref| over the rows whose reference is not zero.
//
// A row whose reference is exactly zero is one that nothing contributes to (an expert without tokens, a token
// with all its assignments dropped): it must be exactly zero, else its error is infinite. So is that of a row
// with a NaN or an infinity on either side.
class RowComparison {
 public:
  static constexpr double kUsualFloor = 1e-3;
  // The floor of dp, whose rows are differences of large terms and may be small by cancellation.
  static constexpr double kMedianFloor = 1;

  explicit RowComparison(double floor_share = kUsualFloor) : floor_share_(floor_share) {}

  // `index` names the row in the result; rows may come in any order and any number.
  void add_row(int64_t index, std::span<const float> actual, std::span<const double> reference);

  // The rows of another comparison, whose indices count from `first_index`.
  void add_rows(const RowComparison& other, int64_t first_index);

  struct Result {
    double rel_err = 0;
    int64_t worst_index = -1;    // -1 without any row
    bool zero_reference = true;  // nothing to compare with: no row, or all of them zero
  };
  Result result() const;

  struct Row {
    int64_t index;
    double difference, reference;  // norms
  };
  const std::vector<Row>& rows() const { return rows_; }
  void pass(Parcel& parcel) { parcel(rows_); }
  int64_t num_rows() const { return static_cast<int64_t>(rows_.size()); }

 private:
  double floor() const;
  double error(const Row& row, double floor) const;

  double floor_share_;
  std::vector<Row> rows_;
};

}  // namespace moehill

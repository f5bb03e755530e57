// RowComparison compares a tensor with its reference row by row. The worst row decides, so one lost token
// among 50,000 shows. A norm of the whole tensor would hide it.
//
//   RowComparison rows;
//   rows.add_row(token, actual, reference);
//   const RowComparison::Result result = rows.result();    // {rel_err, worst_index, ..}
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/parcel.h"

namespace moehill {

// RowComparison keeps the norms of each row. The rel_err of a row is |row - ref| / max(|ref|, floor), in L2
// norms. The rel_err of the tensor is the largest of its rows. The floor is floor_share times the median of
// |ref| over the rows whose reference is not zero.
//
// The reference of a row is exactly zero if nothing contributes to it: an expert without tokens, or a token
// whose assignments were all dropped. Then the row must be exactly zero too, otherwise its error is infinite.
// A row with a NaN or an infinity on either side has an infinite error too.
class RowComparison {
 public:
  static constexpr double kUsualFloor = 1e-3;
  // kMedianFloor is the floor of dp, whose rows are differences of large terms and may be small by
  // cancellation.
  static constexpr double kMedianFloor = 1;

  explicit RowComparison(double floor_share = kUsualFloor) : floor_share_(floor_share) {}

  // Adds a row. `index` names it in the result; rows may come in any order and number.
  void add_row(int64_t index, std::span<const float> actual, std::span<const double> reference);

  // Adds the rows of another comparison, whose indices count from `first_index`.
  void add_rows(const RowComparison& other, int64_t first_index);

  struct Result {
    double rel_err = 0;
    int64_t worst_index = -1;    // -1 without any row
    bool zero_reference = true;  // true if there is nothing to compare with: no row, or only zero ones
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

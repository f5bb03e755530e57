// Deviations: what is compared with its reference, in units of its own error bound.
//
// A compared number has a deviation and a variance: the sum of the squares of the error bounds of everything
// that was rounded on the way to it. Rounding errors are independent and of mean zero (Higham and Mary, "A
// new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41, 2019), so by Hoeffding's
// inequality a right number leaves kMaxBounds roots of the variance with probability 2 exp(-kMaxBounds^2 /
// 2). The mean square of many deviations says more: right numbers stay below 1, since an error that is
// uniform within its bound has a third of its square. A small error that all numbers share shows there alone.
// Numbers may share errors by right, as all rows of a rank-one product do: the caller says how many errors
// that are independent the group has at least.
//
// A common factor 1 + a in many numbers shows in the least-squares estimate of a, by weights 1 / variance.
// Its own variance is 1 / sum(reference^2 / variance), so a factor far below a single number's error is seen:
// values that were cut off in place of rounded, or all gradients half a percent too large.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

namespace moehill {

inline constexpr double kMaxBounds = 7;

class Deviations {
 public:
  // `row` and `block` name the number if it is the worst. A variance of zero allows no deviation.
  void add(int64_t row, int64_t block, double deviation, double variance, double reference = 0) {
    if (variance > 0 && std::isfinite(variance) && std::isfinite(deviation)) {
      along_reference_ += deviation * reference / variance;
      reference_ += reference * reference / variance;
    }
    if (deviation == 0 && std::isfinite(variance)) {
      if (variance > 0) ++count_;
      return;
    }
    const double share = deviation * deviation / variance;
    const bool comparable = std::isfinite(share) && std::isfinite(variance) && variance > 0;
    const double ratio = comparable ? share : std::numeric_limits<double>::infinity();
    ++count_;
    sum_ += ratio;
    if (ratio > worst_) {
      worst_ = ratio;
      row_ = row;
      block_ = block;
    }
  }
  void add(const Deviations& other) {
    count_ += other.count_;
    sum_ += other.sum_;
    along_reference_ += other.along_reference_;
    reference_ += other.reference_;
    if (other.worst_ > worst_) {
      worst_ = other.worst_;
      row_ = other.row_;
      block_ = other.block_;
    }
  }

  double worst() const { return std::sqrt(worst_); }  // in roots of its variance
  double mean_square() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  // 1, and for few errors what the worst one of them may have.
  double mean_square_limit(int64_t num_independent) const {
    return 1 + (kMaxBounds * kMaxBounds - 1) / std::sqrt(static_cast<double>(independent(num_independent)));
  }
  // The common factor, less 1, and what it may be: twice kMaxBounds roots, since a few large numbers may
  // weigh most in it. Functions in f32 may err by a few units in one direction.
  double common_factor() const { return reference_ > 0 ? along_reference_ / reference_ : 0; }
  double common_factor_limit(int64_t num_independent) const {
    if (reference_ == 0) return 0;
    const double shared = static_cast<double>(count_) / static_cast<double>(independent(num_independent));
    return 2 * kMaxBounds * std::sqrt(shared / reference_) + 16 * 0x1p-24;
  }
  bool within_bounds(int64_t num_independent) const {
    return worst() <= kMaxBounds && mean_square() <= mean_square_limit(num_independent);
  }
  // The weight of this estimate of a common factor: the sum of reference^2 / variance.
  double reference() const { return reference_; }
  int64_t count() const { return count_; }
  int64_t row() const { return row_; }  // of the worst; -1 where nothing deviates
  int64_t block() const { return block_; }

 private:
  int64_t independent(int64_t at_least) const { return std::max<int64_t>(1, std::min(count_, at_least)); }

  int64_t count_ = 0, row_ = -1, block_ = -1;
  double sum_ = 0, worst_ = 0;
  double along_reference_ = 0,
         reference_ = 0;  // sums of deviation reference / variance, reference^2 / variance
};

// Returns how far the mean of the columns' common factors may be off: the root of its variance, estimated
// from how far the columns are apart. If all rows of a column share a few errors, each column rightly has a
// factor of its own, and the variances of single numbers do not show that.
inline double factor_spread(const std::vector<Deviations>& of_column) {
  double weight = 0, weighted = 0, squares = 0;
  for (const Deviations& column : of_column) {
    weight += column.reference();
    weighted += column.reference() * column.common_factor();
  }
  if (weight == 0) return 0;
  for (const Deviations& column : of_column) {
    const double off = column.reference() * (column.common_factor() - weighted / weight);
    squares += off * off;
  }
  return std::sqrt(squares) / weight;
}

// Deviations of a matrix, by its rows and by its blocks of columns.
struct MatrixDeviations {
  MatrixDeviations(int64_t rows, int64_t blocks)
      : of_row(static_cast<size_t>(rows)), of_block(static_cast<size_t>(blocks)) {}
  void add(int64_t row, int64_t block, double deviation, double variance, double reference,
           std::vector<Deviations>& blocks) {
    of_row[static_cast<size_t>(row)].add(row, block, deviation, variance, reference);
    blocks[static_cast<size_t>(block)].add(row, block, deviation, variance, reference);
  }
  // Adds what one thread found of the blocks.
  void add_blocks(const std::vector<Deviations>& blocks) {
    const std::lock_guard lock(mutex);
    for (size_t b = 0; b < of_block.size(); ++b) of_block[b].add(blocks[b]);
  }
  Deviations all() const {
    Deviations sum;
    for (const Deviations& d : of_row) sum.add(d);
    return sum;
  }

  std::vector<Deviations> of_row, of_block;
  std::mutex mutex;
};

}  // namespace moehill

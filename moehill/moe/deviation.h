// Deviations collects how far numbers are from their reference, in units of their own error bounds, and says
// whether that is too far. It does not compute the bounds; those come with the numbers.
//
//   Deviations of_tensor;
//   of_tensor.add(row, block, actual - reference, variance, reference);
//   if (!of_tensor.within_bounds(num_rows)) report(of_tensor.row(), of_tensor.worst());
//
// A compared number has a deviation from its reference, and a variance: the sum of the squares of the error
// bounds of everything that was rounded on the way to it. Rounding errors are taken as independent with mean
// zero (Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41,
// 2019). Then, by Hoeffding's inequality, a right number deviates by more than kMaxBounds square roots of its
// variance with a probability of at most 2 exp(-kMaxBounds^2 / 2), which is 5e-11.
//
// The mean square of many deviations, each in units of its variance, finds smaller errors that all numbers
// share. For right numbers it stays below 1, since an error that is uniform within its bound has a mean
// square of a third of the bound's square. Right numbers may share errors too, as all rows of a rank-one
// product do, so the caller says how many independent errors the group has at least.
//
// A common factor 1 + a in many numbers shows in the least-squares estimate of a with the weights 1 /
// variance. The variance of this estimate is 1 / sum(reference^2 / variance). So it finds a factor far below
// the error of a single number: for example, values that were truncated in place of rounded, or gradients
// that are all half a percent too large.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

namespace moehill {

inline constexpr double kMaxBounds = 7;

// A term of a sum counts by itself if its square is this many times the variance of values that may be
// flushed to zero, that is, if it is 1024 times as large as these.
inline constexpr double kFarAboveSubnormal = 0x1p20;

// Deviations are the deviations of a group of numbers. The class keeps sums and the worst number only, so
// groups can be added.
class Deviations {
 public:
  // Adds a number. `row` and `block` name it if it is the worst one. A variance of zero allows no deviation.
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

  double worst() const {
    return std::sqrt(worst_);
  }  // the largest deviation, in square roots of its variance
  double mean_square() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  // Returns the limit of the mean square: 1, plus a term that matters in small groups, where a single large
  // error weighs much.
  double mean_square_limit(int64_t num_independent) const {
    return 1 + (kMaxBounds * kMaxBounds - 1) / std::sqrt(static_cast<double>(independent(num_independent)));
  }
  // Returns the common factor minus 1. Its limit has two terms: twice kMaxBounds square roots of its
  // variance, since a few large numbers may weigh most in it, and 16 round-offs of f32, since functions in
  // f32 may err in one direction.
  double common_factor() const { return reference_ > 0 ? along_reference_ / reference_ : 0; }
  double common_factor_limit(int64_t num_independent) const {
    return common_factor_limit(num_independent, reference_);
  }
  // Returns the limit if the references are only terms of sums. A function that errs in one direction does so
  // in the whole sums, and `whole` is reference() of the sums: by Cauchy's inequality the errors along the
  // terms are at most sqrt(whole / reference()) times as large as along the sums.
  double common_factor_limit(int64_t num_independent, double whole) const {
    if (reference_ == 0) return 0;
    const double shared = static_cast<double>(count_) / static_cast<double>(independent(num_independent));
    return 2 * kMaxBounds * std::sqrt(shared / reference_) +
           16 * 0x1p-24 * std::sqrt(std::max(whole, reference_) / reference_);
  }
  bool within_bounds(int64_t num_independent) const {
    return worst() <= kMaxBounds && mean_square() <= mean_square_limit(num_independent);
  }
  // Returns the weight of this estimate of a common factor: the sum of reference^2 / variance.
  double reference() const { return reference_; }
  int64_t count() const { return count_; }
  int64_t row() const { return row_; }  // row of the worst number; -1 if nothing deviates
  int64_t block() const { return block_; }

 private:
  int64_t independent(int64_t at_least) const { return std::max<int64_t>(1, std::min(count_, at_least)); }

  int64_t count_ = 0, row_ = -1, block_ = -1;
  double sum_ = 0, worst_ = 0;
  double along_reference_ = 0,
         reference_ = 0;  // sums of deviation reference / variance, reference^2 / variance
};

// Returns how far the mean of the columns' common factors may be off: the square root of its variance,
// estimated from the differences between the columns. If all rows of a column share a few errors, a right
// column has a common factor of its own, which the variances of single numbers do not show.
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

// MatrixDeviations are the deviations of a matrix, by its rows, by its blocks of columns, and along the terms
// of its rows.
struct MatrixDeviations {
  MatrixDeviations(int64_t rows, int64_t blocks, int64_t terms)
      : of_row(static_cast<size_t>(rows)),
        of_block(static_cast<size_t>(blocks)),
        of_term(static_cast<size_t>(terms)) {}
  void add(int64_t row, int64_t block, double deviation, double variance, double reference,
           std::vector<Deviations>& blocks) {
    of_row[static_cast<size_t>(row)].add(row, block, deviation, variance, reference);
    blocks[static_cast<size_t>(block)].add(row, block, deviation, variance, reference);
  }
  // Adds the blocks and the terms that one thread has compared.
  void add_blocks(const std::vector<Deviations>& blocks, const std::vector<Deviations>& terms) {
    const std::lock_guard lock(mutex);
    for (size_t b = 0; b < of_block.size(); ++b) of_block[b].add(blocks[b]);
    for (size_t i = 0; i < of_term.size(); ++i) of_term[i].add(terms[i]);
  }
  Deviations all() const {
    Deviations sum;
    for (const Deviations& d : of_row) sum.add(d);
    return sum;
  }

  std::vector<Deviations> of_row, of_block, of_term;
  std::mutex mutex;
};

}  // namespace moehill

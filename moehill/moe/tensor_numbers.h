// TensorNumbers collects the audited numbers of one tensor and judges them: the worst number, the mean of
// each group, and the relative error of rows if rows are known element by element. It makes no reference; the
// numbers come from audit_strip.h and audit_tokens.h.
//
//   TensorNumbers numbers("dw1", RowComparison::kUsualFloor);
//   numbers.add_group(deviations, num_independent, "expert 3", where);
//   const TensorAudit audit = numbers.finish();   // audit.failure is empty if all is right
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "moehill/moe/audit.h"
#include "moehill/moe/row_comparison.h"

namespace moehill {

// TensorNumbers takes numbers in groups (the tokens of an expert, the rows of an expert), whose means are
// judged too. finish() gives the result of the tensor.
class TensorNumbers {
 public:
  TensorNumbers(std::string name, double floor_share) : relative_(floor_share) {
    audit_.tensor = std::move(name);
  }

  // Adds a group. `where(row, block)` names a number; Deviations explains num_independent.
  template <typename Where>
  void add_group(const Deviations& group, int64_t num_independent, const std::string& name,
                 const Where& where) {
    const bool is_worst = group.row() >= 0 && !(group.worst() <= audit_.numbers.worst());
    if (is_worst) audit_.worst = where(group.row(), group.block());
    audit_.numbers.add(group);
    judge(group, num_independent, name, where);
  }
  // Judges a group whose numbers have been added already.
  template <typename Where>
  void judge(const Deviations& group, int64_t num_independent, const std::string& name, const Where& where) {
    if (group.within_bounds(num_independent) || !audit_.failure.empty()) return;
    audit_.failure =
        group.worst() > kMaxBounds
            ? fmt::format("{} {} is off by {:.3g} of its error bounds, {:g} allowed", audit_.tensor,
                          where(group.row(), group.block()), group.worst(), kMaxBounds)
            : fmt::format("{} of {}: the mean square of {} errors is {:.3g} of their bounds', {:.3g} allowed",
                          audit_.tensor, name, group.count(), group.mean_square(),
                          group.mean_square_limit(num_independent));
  }
  // Judges the common factor of a group. The caller asks for it in large groups only, since few numbers say
  // little about a common factor. `spread` is factor_spread() of the group's columns, or 0 if the columns are
  // not known.
  void judge_common_factor(const Deviations& group, int64_t num_independent, double spread,
                           const std::string& name) {
    const double limit = std::max(group.common_factor_limit(num_independent), 2 * kMaxBounds * spread);
    if (std::abs(group.common_factor()) <= limit || !audit_.failure.empty()) return;
    audit_.failure =
        fmt::format("{} of {}: {} numbers are off by a common factor of 1 {:+.2g}, {:.2g} allowed",
                    audit_.tensor, name, group.count(), group.common_factor(), limit);
  }
  // TermErrors say how far the factors of right terms may be apart: factor_spread() of the group's columns,
  // and reference() of the sums.
  struct TermErrors {
    double spread, whole;
  };
  // Judges whether the sums contain a group of terms just once: then the common factor is 0, and it is -1 if
  // they are missing.
  void judge_terms(const Deviations& group, int64_t num_independent, const TermErrors& errors,
                   const std::string& name) {
    const double limit =
        std::max(group.common_factor_limit(num_independent, errors.whole), 2 * kMaxBounds * errors.spread);
    if (std::abs(group.common_factor()) <= limit || !audit_.failure.empty()) return;
    audit_.failure = fmt::format("{} of {}: the factor of these terms is off by {:+.2g}, {:.2g} allowed",
                                 audit_.tensor, name, group.common_factor(), limit);
  }
  // Sets how rows are named: each expert, or the shared one, has `rows` rows; 0 (the default) means that each
  // row is a token.
  void set_rows_per_expert(int64_t rows) { rows_per_expert_ = rows; }
  void saw_reference(double value) { non_zero_ = non_zero_ || value != 0; }
  RowComparison& relative() { return relative_; }
  const std::string& tensor() const { return audit_.tensor; }

  void pass(Parcel& parcel) {
    parcel(audit_.numbers), parcel(audit_.worst), parcel(audit_.failure);
    parcel(rows_per_expert_), parcel(non_zero_);
    relative_.pass(parcel);
  }
  // Adds other numbers of the same tensor, which have been judged.
  void add(const TensorNumbers& other) {
    const Deviations& theirs = other.audit_.numbers;
    if (theirs.row() >= 0 && !(theirs.worst() <= audit_.numbers.worst())) audit_.worst = other.audit_.worst;
    audit_.numbers.add(theirs);
    if (audit_.failure.empty()) audit_.failure = other.audit_.failure;
    rows_per_expert_ = std::max(rows_per_expert_, other.rows_per_expert_);
    non_zero_ = non_zero_ || other.non_zero_;
    relative_.add_rows(other.relative_, 0);
  }

  TensorAudit finish() {
    audit_.zero_reference = !non_zero_;
    const RowComparison::Result relative = relative_.result();
    audit_.rel_err = relative.rel_err;
    if (relative.worst_index >= 0) audit_.worst_row = row_name(relative.worst_index);
    return std::move(audit_);
  }

 private:
  std::string row_name(int64_t index) const {
    if (rows_per_expert_ == 0) return fmt::format("token {}", index);
    if (audit_.tensor.rfind("ds", 0) == 0) return fmt::format("row {}", index);
    return fmt::format("expert {} row {}", index / rows_per_expert_, index % rows_per_expert_);
  }

  TensorAudit audit_;
  int64_t rows_per_expert_ = 0;  // 0: rows are tokens
  RowComparison relative_;
  bool non_zero_ = false;
};

}  // namespace moehill

// AuditTerms asks whether each term of a token's sums is in them once. A token's rows of y and dx are sums of
// one term for each choice, and one for the shared expert. In bf16 a term with a small gate value may be
// below the rounding errors of its sum. Then neither a number nor a mean square shows that such terms were
// left out. But the deviations of many tokens then lie along the missing terms, which rounding errors do not.
//
// AuditTerms collects the sums for a least-squares estimate of a in `deviation = a term`, by groups of terms
// (the common factor in moe/deviation.h). For right results a is 0 within its own error; it is -1 for terms
// that were left out, and -1/2 for halved ones. The groups are the choices of each rank, the shared expert,
// and the terms whose gate values are within one octave. The terms of a token in one octave count as their
// sum.
//
// The gradients of an expert's weights are judged in the same way along the part that comes from rows with
// small gate values (GradientAudit in moe/audit_strip.h).
//
//   AuditTerms terms(shape, by_hidden, seed);
//   terms.set({token, slot, gate}, factor, projected_row);         // the term is factor times the row
//   terms.compare({token, deviation, variance, 0}, groups);        // the token's row against its reference
//
// A token's row counts as at most 8 numbers here, random sums of its blocks of columns. The limit of a is 14
// square roots of its variance, which takes these numbers as independent. They are not independent if a few
// elements of h make the whole row: then the rounding errors of h are the same in all 8. Variances have u^2
// for a value that is stored in bf16, with u = 2^-9; the mean square of its error is 0.72 u^2. The variance
// of h is at most about 5/9 of a row's (for the square of a ReLU). So the variance of a is at most 8 * 0.72 *
// 5/9 + 0.72 * 4/9 = 3.5 times its estimate, and 14 roots are 7.4 true ones. Rounding errors are
// sub-Gaussian, so a group of right terms fails with a probability of at most 2 exp(-7.4^2 / 2) = 3e-12, and
// one of a hundred groups below 1e-9.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/shape.h"
#include "moehill/moe/check_share.h"
#include "moehill/moe/dense.h"
#include "moehill/moe/deviation.h"
#include "moehill/moe/projection.h"

namespace moehill {

inline constexpr int64_t kMostTermNumbers = 8;
inline constexpr int kGateOctaves = 16;

// Returns the number of terms of a token. Their slots are the ranks of the choices, then the shared expert.
inline int num_terms(const MoeShape& shape) { return shape.topk + (shape.shared_dim > 0 ? 1 : 0); }
inline int64_t num_term_groups(const MoeShape& shape) { return num_terms(shape) + kGateOctaves; }
// Returns the name of a group of terms: the slots come first, then the octaves.
std::string term_group_name(const MoeShape& shape, int64_t group);

class AuditTerms {
 public:
  AuditTerms() = default;
  // Rows are projected by `by_hidden`.
  AuditTerms(const MoeShape& shape, const Projection& by_hidden, uint32_t seed);

  struct Slot {
    int64_t token;
    int slot;
    double gate;  // the gate value decides the octave; the factor may be another number
  };
  template <typename F>
  void set(const Slot& at, double factor, const F* row);

  // The terms of a token are in the memory of those processes that have its experts. These rows are added up.
  SummedRows rows() { return {values_.values.data(), values_.cols}; }

  // TokenErrors are the blocks of a token's stored row. Terms whose square is at most `least` are left out,
  // because they may have been flushed to zero.
  struct TokenErrors {
    int64_t token;
    const double *deviation, *variance;
    double least;
  };
  // Adds the row to the numbers of the groups, [num_group_numbers()].
  void compare(const TokenErrors& errors, std::vector<Deviations>& groups) const;
  int64_t num_group_numbers() const { return (num_terms_ + kGateOctaves) * num_numbers(); }

 private:
  int64_t num_numbers() const { return by_blocks_.num_blocks(); }
  int64_t slot_begin(int slot) const { return slot * (num_numbers() + 1); }

  int num_terms_ = 0;
  Projection by_blocks_;
  Dense<double> values_;  // [T, terms][gate value, numbers of the term]
};

}  // namespace moehill

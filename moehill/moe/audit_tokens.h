// Parts of the results that are of a token by itself, as the audit has them, for the tokens of a process:
// zero experts, and the router's own product.
#pragma once

#include <vector>

#include "moehill/moe/audit_strip.h"

namespace moehill {

// y and dx [T, blocks of H] and dp [T, k], the last two of a backward pass and in units of dy = y.
struct TokenEstimates {
  Estimate &y, &dx, &dp;
};

// A choice of a zero expert: y += p x, dx += p dy, dp = <dy, x>. Marks the tokens that have one.
void add_zero_experts(const AuditContext& context, Range tokens, TokenEstimates sums,
                      std::vector<char>& reached);

// Factors of the rows of tokens, [T, num]: sums with a variance, or stored values times `scale`, which is all
// that is asked of them here.
struct Factors {
  explicit Factors(const Estimate& sums) : num(sums.value.cols), estimate(&sums) {}
  Factors(const MatView& stored, double times) : num(stored.cols), rows(stored), scale(times) {}
  double value(int64_t t, int64_t l) const {
    return estimate != nullptr ? estimate->value.row(t)[l] : scale * static_cast<double>(rows.at(t, l));
  }
  double variance(int64_t t, int64_t l) const {
    return estimate != nullptr ? estimate->variance.row(t)[l] : 0;
  }

  int64_t num;
  const Estimate* estimate = nullptr;
  MatView rows{};
  double scale = 1;
};

// sum += factors w^T: w [H, num]. Such is dx += dz W_g^T of the router, dz in units of dy = y.
void add_product(const AuditContext& context, ThreadTeam& team, Range tokens, const Factors& factors,
                 const LogicalWeights& w, Estimate& sum);
// The part of w's gradient rows^T factors that is of these tokens, transposed: [num, blocks of H]. `type`: of
// what is stored, which may be a sum of stored parts.
Estimate product_gradient(const AuditContext& context, ThreadTeam& team, Range tokens, const MatView& rows,
                          const Factors& factors, DType type);

}  // namespace moehill

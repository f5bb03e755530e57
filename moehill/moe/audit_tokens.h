// This header declares the parts of the audit that treat each token by itself: zero experts, and the products
// with matrices that all tokens share. They need no strips (moe/audit_strip.h).
//
//   add_zero_experts(context, share.own_tokens(), {y, dx, dp}, reached);
//   add_product(context, team, tokens, Factors(dlogits), tensors.weights.wg, dx);   // dx += dz W_g^T
#pragma once

#include <vector>

#include "moehill/moe/audit_strip.h"

namespace moehill {

// TokenEstimates are y and dx [T, blocks of H] and dp [T, k]. dx and dp belong to a backward pass with dy =
// y.
struct TokenEstimates {
  Estimate &y, &dx, &dp;
};

// Adds the choices of zero experts: y += p x, dx += p dy, dp = <dy, x>. Sets reached[t] for each token t that
// has such a choice.
void add_zero_experts(const AuditContext& context, Range tokens, TokenEstimates sums,
                      std::vector<char>& reached);

// Factors are the left factor of a product, [T, num]: either sums with a variance, or stored values times
// `scale`, which are taken as exact.
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

// Computes sum += factors w^T, with w [H, num]. An example is the router's dx += dz W_g^T, with the dz of dy
// = y.
void add_product(const AuditContext& context, ThreadTeam& team, Range tokens, const Factors& factors,
                 const LogicalWeights& w, Estimate& sum);
// Returns these tokens' part of the gradient rows^T factors of w, transposed: [num, blocks of H]. `type` is
// the type of the stored gradient, which may be a sum of stored parts.
Estimate product_gradient(const AuditContext& context, ThreadTeam& team, Range tokens, const MatView& rows,
                          const Factors& factors, DType type);

}  // namespace moehill

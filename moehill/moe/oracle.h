// The oracle: the block in double precision, one expert at a time, written for reading.
//
// Formulas: contract, 'The block'. For a row x of an expert with gate value p:
//   g = x W1, u = x W3, h = silu(g) u, out = h W2, y += p out
//   dp = <dy, out>, dh = p dy W2^T, dg = dh u silu'(g), du = dh silu(g), dx += dg W1^T + du W3^T
//   dW1 += x^T dg, dW3 += x^T du, dW2 += (p h)^T dy
// silu(g) = g s(g) with the logistic s; silu'(g) = s(g) (1 + g (1 - s(g))).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// All results in double, row-major: y, dx [T, H]; dw1, dw3 [E, H, M]; dw2 [E, M, H]; ds1, ds3 [H, S]; ds2
// [S, H]; dp [T, k]; dlogits [T, E], the gradient of the router's logits through the
// gate values, the choices held. A dropped assignment contributes nothing and has dp = 0.
struct OracleResult {
  std::vector<double> y, dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits;
};

// Inputs are read from `tensors` (x, weights, routing, kept); its results are not looked at.
// With `dy_override` (row-major [T, H]) that dy is used in place of 2 y / (T H).
// The result does not depend on the size of `team`.
OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override,
                        ThreadTeam& team);

// The rows of y, dx, dp and dlogits for some tokens: row i is that of tokens[i]. `dy`: [T, H], row-major;
// null: y only.
struct TokenResult {
  Dense<double> y, dx, dp, dlogits;
};
TokenResult run_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens, const double* dy,
                              ThreadTeam& team);

// Gradients of some columns m of one expert (or kSharedExpert), summed over all of its tokens.
struct ExpertGradients {
  Dense<double> dw1, dw3;  // [H, columns]
  Dense<double> dw2;       // [columns, H]
};
ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert, std::span<const int64_t> columns,
                                  const double* dy, ThreadTeam& team);

// Computed assignments of each expert, [E]: what capacity dropped is left out.
std::vector<int64_t> computed_load(const BlockTensors& tensors);

}  // namespace moehill

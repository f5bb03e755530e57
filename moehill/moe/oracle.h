// The oracle: the block in double precision, one expert at a time, written for reading.
//
// Formulas: contract, 'The block'. For a row x of an expert with gate value p:
//   g = x W1, u = x W3, h = a(g) b(u), out = h W2, y += p out
//   dp = <dy, out>, dh = p dy W2^T, dg = dh a'(g) b(u), du = dh a(g) b'(u), dx += dg W1^T + du W3^T
//   dW1 += x^T dg, dW3 += x^T du, dW2 += (p h)^T dy
// With biases g += b1, u += b3, out += b2, and db1 += dg, db3 += du, db2 += p dy. Where gate values multiply
// inputs, p x stands for x and 1 for p above, dp = <dx, x> and dx counts p times. The shared expert's p is 1,
// or with a gate s(z), z = x sg; then dz = dp s(z) (1 - s(z)), dx += dz sg, dsg += dz x. a and b are the
// activation's factors, silu(g) and u for SwiGLU (moe/activation_reference.h). Without a W3, u and what
// follows of it are not there, and b = 1. A choice of a zero expert is an expert with out = x.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// All results in double, row-major: y, dx [T, H]; dw1, dw3 [E, H, M]; dw2 [E, M, H]; ds1, ds3 [H, S]; ds2
// [S, H]; dw3 and ds3 are empty without a W3; dp [T, k]; dlogits [T, L], the gradient of the router's logits
// through the gate values, the choices held. A dropped assignment contributes nothing and has dp = 0.
struct OracleResult {
  std::vector<double> y, dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits;
  std::vector<double> dwg;  // [H, L], with the router's own product, which dx then has a part of
  std::vector<double> db1, db2, db3, dsg;  // [E, M], db2 [E, H], [H]; empty without these vectors
};

// Inputs are read from `tensors` (x, weights, routing, kept); its results are not looked at.
// With `dy_override` (row-major [T, H]) that dy is used in place of 2 y / (T H).
// The result does not depend on the size of `team`.
OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override,
                        ThreadTeam& team);

// dy [T, H]: given in double, row-major, or that of the stored tensors.
class LossGradient {
 public:
  LossGradient(const double* values) : values_(values) {}  // NOLINT: implicit by design; null: there is none
  explicit LossGradient(const BlockTensors& tensors) : y_(tensors.read_dy()), scale_(tensors.loss_scale()) {}
  bool exists() const { return values_ != nullptr || y_.data != nullptr; }
  // Reads a row of dy as it arrives by the wire.
  void read_row(int64_t token, std::span<double> row, Wire wire = Wire::native) const;

 private:
  const double* values_ = nullptr;
  MatView y_{};
  double scale_ = 0;
};

// The rows of y, dx, dp and dlogits for some tokens: row i is that of tokens[i]. Without a `dy`, y only.
struct TokenResult {
  Dense<double> y, dx, dp, dlogits;
  Dense<double> dgate;  // [tokens, 1], of z of the shared expert's gate
};
TokenResult run_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                              const LossGradient& dy, ThreadTeam& team);
// Compute this in two parts: the sum over those experts (kSharedExpert among them) that are taken, and the
// rest once all experts are in the sum.
TokenResult run_oracle_experts(const BlockTensors& tensors, std::span<const int64_t> tokens,
                               const LossGradient& dy, ThreadTeam& team,
                               const std::function<bool(int expert)>& takes);
void finish_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                          const LossGradient& dy, TokenResult& result);

// Rows of an expert that are in memory at a time in double, with their gradients.
inline constexpr int64_t kOracleRows = 1024;

// Gradients of some columns m of one expert (or kSharedExpert), summed over all of its tokens, or over those
// of a range.
struct ExpertGradients {
  Dense<double> dw1, dw3;  // [H, columns]
  Dense<double> dw2;       // [columns, H]
  Dense<double> db1, db3;  // [1, columns], where there are biases
  Dense<double> db2;       // [1, H]
};
ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert, std::span<const int64_t> columns,
                                  const LossGradient& dy, ThreadTeam& team, Range tokens);
inline ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert,
                                         std::span<const int64_t> columns, const LossGradient& dy,
                                         ThreadTeam& team) {
  return run_oracle_expert(tensors, expert, columns, dy, team, {0, tensors.shape.tokens});
}

// Computed assignments of each expert, [E]: what capacity dropped is left out.
std::vector<int64_t> computed_load(const BlockTensors& tensors);

}  // namespace moehill

// This header has the oracle: the block in double precision, one expert at a time, in loops that are written
// to be read. It is the reference of a check (moe/check.h). It is far too slow for a whole block of real
// size, so a check takes samples of it.
//
//   const OracleResult result = run_oracle(tensors, true, nullptr, team);   // y and all gradients
//
// The formulas are those of the contract, 'The block'. For a row x of an expert with the gate value p:
//
//   g = x W1, u = x W3, h = a(g) b(u), out = h W2, y += p out
//   dp = <dy, out>, dh = p dy W2^T, dg = dh a'(g) b(u), du = dh a(g) b'(u), dx += dg W1^T + du W3^T
//   dW1 += x^T dg, dW3 += x^T du, dW2 += (p h)^T dy
//
// a and b are the factors of the activation, silu(g) and u for SwiGLU (moe/activation_reference.h). Without a
// W3 there is no u, and b = 1. These forms of a block change the formulas:
//
// - Biases: g += b1, u += b3, out += b2, and db1 += dg, db3 += du, db2 += p dy.
// - Gate values that multiply inputs: replace x by p x and then p by 1; dp = <dx, x>, and dx is multiplied by
//   p.
// - The shared expert: p = 1. With a gate, p = s(z), z = x sg; then dz = dp s(z) (1 - s(z)), dx += dz sg, dsg
//   += dz x.
// - A choice of a zero expert is an expert with out = x.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// OracleResult has all results in double, row-major: y, dx [T, H]; dw1, dw3 [E, H, M]; dw2 [E, M, H]; ds1,
// ds3 [H, S]; ds2 [S, H]; dp [T, k]; dlogits [T, L]. dw3 and ds3 are empty without a W3. dlogits is the
// gradient of the router's logits through the gate values, with the choices held fixed. A dropped assignment
// adds nothing and has dp = 0.
struct OracleResult {
  std::vector<double> y, dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits;
  std::vector<double> dwg;  // [H, L], if the router's product is a part of the block; dx has its term then
  std::vector<double> db1, db2, db3, dsg;  // [E, M]; db2 [E, H]; dsg [H]; empty without these vectors
};

// Computes the block. It reads the inputs of `tensors` (x, weights, routing, kept) and none of its results.
// `dy_override` (row-major [T, H]) replaces dy = 2 y / (T H); null: it does not. The size of `team` does not
// change the result.
OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override,
                        ThreadTeam& team);

// LossGradient is dy [T, H]: either given in double, row-major, or that of the stored tensors.
class LossGradient {
 public:
  LossGradient(const double* values) : values_(values) {}  // NOLINT: implicit by design; null: there is none
  explicit LossGradient(const BlockTensors& tensors) : y_(tensors.read_dy()), scale_(tensors.loss_scale()) {}
  bool exists() const { return values_ != nullptr || y_.data != nullptr; }
  // Reads a row of dy as it arrives after the wire.
  void read_row(int64_t token, std::span<double> row, Wire wire = Wire::native) const;

 private:
  const double* values_ = nullptr;
  MatView y_{};
  double scale_ = 0;
};

// TokenResult has rows of y, dx, dp and dlogits for some tokens: row i is that of tokens[i]. Without a `dy`
// it has y only.
struct TokenResult {
  Dense<double> y, dx, dp, dlogits;
  Dense<double> dgate;  // [tokens, 1], the gradient of the shared expert's z
};
TokenResult run_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                              const LossGradient& dy, ThreadTeam& team);
// These two functions compute the result above in two parts: first the sum over the experts (kSharedExpert
// among them) for which `takes` is true, then the rest, when the sum has all experts. Between them, processes
// can add their sums.
TokenResult run_oracle_experts(const BlockTensors& tensors, std::span<const int64_t> tokens,
                               const LossGradient& dy, ThreadTeam& team,
                               const std::function<bool(int expert)>& takes);
void finish_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                          const LossGradient& dy, TokenResult& result);

// At most this many rows of an expert are in memory in double at a time, with their gradients.
inline constexpr int64_t kOracleRows = 1024;

// ExpertGradients are the gradients of some columns m of one expert (or kSharedExpert), summed over all of
// its tokens or over those of a range.
struct ExpertGradients {
  Dense<double> dw1, dw3;  // [H, columns]
  Dense<double> dw2;       // [columns, H]
  Dense<double> db1, db3;  // [1, columns], if there are biases
  Dense<double> db2;       // [1, H]
};
ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert, std::span<const int64_t> columns,
                                  const LossGradient& dy, ThreadTeam& team, Range tokens);
inline ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert,
                                         std::span<const int64_t> columns, const LossGradient& dy,
                                         ThreadTeam& team) {
  return run_oracle_expert(tensors, expert, columns, dy, team, {0, tensors.shape.tokens});
}

// Returns how many assignments of each expert are computed, [E]: those that capacity did not drop.
std::vector<int64_t> computed_load(const BlockTensors& tensors);

}  // namespace moehill

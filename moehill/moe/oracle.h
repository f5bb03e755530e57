// This header has the oracle: the block in double precision, one expert at a time, in loops that are written
// to be read. It is a reference for the check (moe/check.h). It is far too slow for a whole block of real
// size, so the check compares a sample of rows with it.
//
//   const OracleResult result = run_oracle(tensors, true, nullptr, team);   // y and all gradients
//
// These are the formulas of the block, with gradients by the chain rule (docs/metrics.md has the sources of
// the activations). For a row x of an expert with the gate value p:
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
  std::vector<double>
      dwg;  // [H, L], if the router's product is a part of the block; then dx includes dz W_g^T
  std::vector<double> db1, db2, db3, dsg;  // [E, M]; db2 [E, H]; dsg [H]; empty without these vectors
};

// Computes the block. It reads the inputs of `tensors` (x, weights, routing, kept) and none of its results.
// If `dy_override` (row-major [T, H]) is not null, it replaces dy = 2 y / (T H). The size of `team` does not
// change the result.
OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override,
                        ThreadTeam& team);

// LossGradient is dy [T, H]: either values in double, row-major, or the dy of the stored tensors.
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

// TokenResult has rows of y, dx, dp and dlogits for some tokens: row i belongs to tokens[i]. Without a `dy`
// it has y only.
struct TokenResult {
  Dense<double> y, dx, dp, dlogits;
  Dense<double> dgate;  // [tokens, 1], the gradient of the shared expert's z
};
TokenResult run_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                              const LossGradient& dy, ThreadTeam& team);
// These two functions compute a TokenResult in two parts. The first sums over the experts (kSharedExpert
// among them) for which `takes` is true. Between the two, the processes add their sums. The second computes
// the rest, which needs the sums over all experts.
TokenResult run_oracle_experts(const BlockTensors& tensors, std::span<const int64_t> tokens,
                               const LossGradient& dy, ThreadTeam& team,
                               const std::function<bool(int expert)>& takes);
void finish_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                          const LossGradient& dy, TokenResult& result);

// At most this many rows of an expert are in memory in double at a time, with their gradients.
inline constexpr int64_t kOracleRows = 1024;

// ExpertGradients are the gradients of some columns m of one expert (or kSharedExpert), summed over all of
// its tokens, or over its tokens in a range.
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

// Returns how many assignments each expert computes, [E]: all but the assignments that capacity dropped.
std::vector<int64_t> computed_load(const BlockTensors& tensors);

}  // namespace moehill

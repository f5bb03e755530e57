// This header reads one expert's matrices, or some of their M columns, out of any layout into row-major
// memory. It is for checks; kernels read the panels (tensor/weight_stack.h) as they are.
//
//   ExpertColumns w;
//   read_expert(tensors.weights, expert, {0, 64}, w);   // w.w1 is [H, 64], w.w2 is [64, H]
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// kSharedExpert stands for the shared expert: its matrices are S1, S3 and S2, and its tokens are all tokens.
inline constexpr int kSharedExpert = -1;

// Reads row `row` of matrix `group`, all logical columns, into out [num_columns].
void read_row(const LogicalWeights& weights, int64_t group, int64_t row, float* out);
// Reads row `row` into out [cols].
void read_row(const MatView& matrix, int64_t row, float* out);

// Reads rows and columns of matrix `group` into rows of `out` that are `stride` apart. It is faster than
// reading row by row, since it goes through memory in order. The ranges must begin at multiples of 8. F is
// float or double.
template <typename F>
void read_part(const LogicalWeights& weights, int64_t group, Range rows, Range columns, F* out,
               int64_t stride);

// ExpertColumns are some of the M columns of an expert. They are a narrower expert by themselves, since each
// of the M intermediate values, and each column's gradient, depends on its own column only.
struct ExpertColumns {
  Dense<float> w1, w3;  // [H, columns]; [0, 0] if there is no W3
  Dense<float> w2;      // [columns, H]
  // b1 and b3 [1, columns] and b2 [1, H] exist if experts have biases. b2 is filled only if the columns begin
  // with column 0, so that the parts of an expert count it once.
  Dense<float> b1, b3, b2;
};

// Reads the given columns of an expert. `weights` may also be gradients, and `expert` may be kSharedExpert.
// The memory of `out` is used again, because fresh pages for every expert cost as much time as reading it.
void read_expert(const BlockWeights& weights, int expert, std::span<const int64_t> columns, ThreadTeam& team,
                 ExpertColumns& out);

// Reads columns [begin, end); `begin` must be a multiple of 8.
void read_expert(const BlockWeights& weights, int expert, Range columns, ExpertColumns& out);

// Returns 0, 1, ... n - 1.
std::vector<int64_t> indices_up_to(int64_t n);

}  // namespace moehill

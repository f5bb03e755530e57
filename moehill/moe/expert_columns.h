// One expert's matrices, or some of their M columns, read out of whatever layout they are stored in.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "moehill/moe/dense.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// The "expert" whose matrices are S1, S3, S2 and whose tokens are all tokens.
inline constexpr int kSharedExpert = -1;

// Row `row` of matrix `group`, all logical columns, into out [num_columns].
void read_row(const LogicalWeights& weights, int64_t group, int64_t row, float* out);
// Row `row` into out [cols].
void read_row(const MatView& matrix, int64_t row, float* out);

// Rows and columns of matrix `group` into rows of `out` that are `stride` apart. It is faster than row by
// row, since it reads memory as it lies. The ranges begin at multiples of 8. F is float or double.
template <typename F>
void read_part(const LogicalWeights& weights, int64_t group, Range rows, Range columns, F* out,
               int64_t stride);

// The columns m of an expert: they make an expert of that width by themselves, since each of the M
// intermediate values, and each column's gradient, depends on its own column alone.
struct ExpertColumns {
  Dense<float> w1, w3;  // [H, columns]; no W3 is [0, 0]
  Dense<float> w2;      // [columns, H]
  // [1, columns] and [1, H], where experts have biases. b2 is of the columns that begin with the first one.
  Dense<float> b1, b3, b2;
};

// `weights` may as well be gradients; `expert` may be kSharedExpert. Memory that `out` has is used again:
// fresh pages for every expert cost as much as reading it.
void read_expert(const BlockWeights& weights, int expert, std::span<const int64_t> columns, ThreadTeam& team,
                 ExpertColumns& out);

// Columns [begin, end), which begins at a multiple of 8.
void read_expert(const BlockWeights& weights, int expert, Range columns, ExpertColumns& out);

// 0, 1, ... n - 1.
std::vector<int64_t> indices_up_to(int64_t n);

}  // namespace moehill

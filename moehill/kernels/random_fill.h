// Tensors of normal random numbers, every element a function of (seed, stream, its index in the whole block)
// alone, and the same bits on every SIMD target.
//
// Element i is half of a Box-Muller pair: with (a, b) the words of Threefry block i / 2 as uniforms, radius
// sqrt(-2 ln a), element i is radius * cos(2 pi b) for even i and radius * sin(2 pi b) for odd i.
#pragma once

#include <cstdint>

#include "moehill/base/rng.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// out[i] = deviation * element first + i.
void random_row(uint32_t seed, Stream stream, uint64_t first, int64_t n, float deviation, float* out);

// m [rows, cols]: element index (first_row + r) * cols + c. Each thread fills, and so places, its share of
// the rows.
void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const MatView& m,
                 int64_t first_row = 0);

// Logical [G][K, num_columns] matrices: index ((first_group + g) * K + k) * num_columns + n. Other columns
// are not touched (they are zero pages from the start).
void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const LogicalWeights& w,
                 int64_t first_group);

}  // namespace moehill

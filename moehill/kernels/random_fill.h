// This header fills tensors with normal random numbers. Every element is a function of (seed, stream, its
// index in the whole tensor) and nothing else, with the same bits on every SIMD target. So each device can
// make its part by itself, and any layout has the same values.
//
//   fill_normal(team, seed, Stream::kX, 1.0f, x);             // x [T, H], all rows
//   fill_normal(team, seed, Stream::kX, 1.0f, part, first);   // rows from `first` on
//
// Element i is one half of a Box-Muller pair. Let a and b be the words of Threefry block i / 2 (base/rng.h)
// as uniform numbers, and radius = sqrt(-2 ln a). The element is radius * cos(2 pi b) for even i and radius *
// sin(2 pi b) for odd i.
#pragma once

#include <cstdint>

#include "moehill/base/rng.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// Writes out[i] = deviation * element (first + i) for i in [0, n).
void random_row(uint32_t seed, Stream stream, uint64_t first, int64_t n, float deviation, float* out);

// Fills m [rows, cols]; element (r, c) has index (first_row + r) * cols + c. Each thread fills its share of
// the rows, and so places their memory.
void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const MatView& m,
                 int64_t first_row = 0);

// Fills logical matrices [G][K, num_columns]; element (g, k, n) has index ((first_group + g) * K + k) *
// num_columns + n. It does not touch other columns of the stack; they are zero from the start.
void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const LogicalWeights& w,
                 int64_t first_group);

}  // namespace moehill

// This header chooses the SIMD target: one of the sets of instructions for which the kernels are compiled. By
// default Highway picks the best target that the CPU has; MOEHILL_SIMD and the tests restrict it.
//
//   select_simd_target("avx2");   // throws InputError if this CPU does not have it
//   select_simd_target("");       // the best again
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/kernels/dot_tile.h"

namespace moehill {

// Returns the targets of this binary that this CPU can run, the best first: "AMX_BF16", "AVX512_BF16",
// "AVX3", "AVX2", "SSE4", "SCALAR", ... AVX3 is Highway's name for AVX-512. The first two are AVX3 with bf16
// products by the instructions of that name.
std::vector<std::string> simd_targets();
// Returns the target that the kernels use now.
std::string simd_target();

// Returns Highway's bits of all targets that this CPU has, without the restriction.
int64_t cpu_simd_targets();

// Returns the tiles for bf16 products of the current target.
PairTiles pair_tiles();

// Restricts the kernels to the target `name` (upper or lower case); "" lifts the restriction. Throws
// InputError for a target that is not available.
void select_simd_target(const std::string& name);

}  // namespace moehill

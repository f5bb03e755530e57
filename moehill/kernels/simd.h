// Which SIMD target the kernels run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/kernels/dot_tile.h"

namespace moehill {

// Targets of this binary that this CPU can run, best first: "AMX_BF16", "AVX512_BF16", "AVX3", "AVX2",
// "SSE4", "SCALAR", ... The first two are AVX3 with bf16 products by their instructions.
std::vector<std::string> simd_targets();
std::string simd_target();

// Highway's bits of all targets that this CPU has, whatever the kernels are restricted to.
int64_t cpu_simd_targets();

// The tiles for bf16 products of the target.
PairTiles pair_tiles();

// Restricts the kernels to `name` (any case) or, with "", to the best. Throws InputError for a target that is
// not there.
void select_simd_target(const std::string& name);

}  // namespace moehill

// Which SIMD target the kernels run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/kernels/dot_tile.h"

namespace moehill {

// Targets of this binary that this CPU can run, best first: "AVX512_BF16", "AVX3", "AVX2", "SSE4", "SCALAR",
// ... The first one is AVX3 with bf16 products by dot instructions.
std::vector<std::string> simd_targets();
std::string simd_target();

// Highway's bits of all targets that this CPU has, whatever the kernels are restricted to.
int64_t cpu_simd_targets();

// The tile for bf16 products of the target; null: they are widened to f32.
const DotTile* dot_tile();

// Restricts the kernels to `name` (any case) or, with "", to the best. Throws InputError for a target that is
// not there.
void select_simd_target(const std::string& name);

}  // namespace moehill

// This header has the checks of a block's description (moehill_block_desc), and turns the description into a
// RunConfig, the library's own form of it. It allocates nothing and runs nothing.
//
//     const moehill_block_desc full = complete(desc);         // throws Failure if out of range
//     const RunConfig config = run_config(full, context);
#pragma once

#include "moehill/api/context.h"
#include "moehill/block/run_config.h"

namespace moehill {

// Returns the caller's struct, with the defaults for members that the caller's version of the struct does not
// have.
moehill_block_desc complete(const moehill_block_desc* desc);
// Does the same, but ignores the path, which is AUTO in the result.
moehill_block_desc complete_without_path(const moehill_block_desc* desc);
// Does the same as complete(), but keeps only the members that an exchange of rows uses.
moehill_block_desc complete_for_exchange(const moehill_block_desc* desc);
// Returns a number that almost certainly differs if descriptions differ.
int64_t fingerprint(const moehill_block_desc& desc);

// Returns the config of one step. Throws Failure for a member out of range. `desc.path` may not be AUTO.
RunConfig run_config(const moehill_block_desc& desc, const Context& context);

// Throws Failure if the product of the factors is more elements than any memory has. The bytes of a smaller
// product fit into 64 bits.
void require_countable(std::initializer_list<double> factors);

Spread spread_of(int32_t path, int num_devices);
moehill_path path_of(Spread spread);
DType dtype_named(int32_t dtype, const char* what);
// Returns true for MOEHILL_OUT_IN. Throws Failure for a number that is no moehill_order.
bool is_out_in(int32_t order);

// Returns true if all processes have to pass the same tokens.
inline bool replicates_tokens(const RunConfig& config, const Context& context) {
  return context.num_processes() > 1 && !shards_tokens(config);
}

}  // namespace moehill

// Description checks a block's description as the caller gives it and turns it into a RunConfig, which the
// rooms below understand. It allocates nothing and runs nothing.
//
//     const moehill_block_desc full = complete(desc);         // Failure for what is out of range
//     const RunConfig config = run_config(full, context);
#pragma once

#include "moehill/api/context.h"
#include "moehill/block/run_config.h"

namespace moehill {

// Returns the caller's struct over the defaults. The caller may know fewer members than this library.
moehill_block_desc complete(const moehill_block_desc* desc);
// Keeps only the members that an exchange of rows uses.
moehill_block_desc complete_for_exchange(const moehill_block_desc* desc);
// Returns a number that almost certainly differs if descriptions differ.
int64_t fingerprint(const moehill_block_desc& desc);

// Returns the config of one step. Throws Failure for what is out of range. `desc.path` may not be AUTO.
RunConfig run_config(const moehill_block_desc& desc, const Context& context);

// Throws Failure if the product is more elements than any memory has. What is below can be counted in bytes
// with 64 bits.
void require_countable(std::initializer_list<double> factors);

Spread spread_of(int32_t path, int num_devices);
moehill_path path_of(Spread spread);
DType dtype_named(int32_t dtype, const char* what);
// Takes a moehill_order; true for MOEHILL_OUT_IN.
bool is_out_in(int32_t order);

// True if all processes have to pass the same tokens.
inline bool replicates_tokens(const RunConfig& config, const Context& context) {
  return context.num_processes() > 1 && !shards_tokens(config);
}

}  // namespace moehill

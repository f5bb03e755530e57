// A block's description as the caller gives it, checked and turned into what the rooms below understand.
#pragma once

#include "moehill/api/context.h"
#include "moehill/block/run_config.h"

namespace moehill {

// The caller's struct, of which it may know fewer members than this library, over the defaults.
moehill_block_desc complete(const moehill_block_desc* desc);
// These fields are all that an exchange of rows uses of the description.
moehill_block_desc complete_for_exchange(const moehill_block_desc* desc);
// A number that differs, as far as can be told, where descriptions differ.
int64_t fingerprint(const moehill_block_desc& desc);

// The run that one step is. Throws Failure for what is out of range. `desc.path` must not be AUTO.
RunConfig run_config(const moehill_block_desc& desc, const Context& context);

// Throws Failure for as many elements as no memory has; what is below can be counted in bytes and 64 bits.
void require_countable(std::initializer_list<double> factors);

Spread spread_of(int32_t path, int num_devices);
moehill_path path_of(Spread spread);
DType dtype_named(int32_t dtype, const char* what);
// A moehill_order: true for MOEHILL_OUT_IN.
bool is_out_in(int32_t order);

// True if all processes pass the same tokens.
inline bool replicates_tokens(const RunConfig& config, const Context& context) {
  return context.num_processes() > 1 && !shards_tokens(config);
}

}  // namespace moehill

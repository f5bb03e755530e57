// Spread: how the block is spread over devices, and its two words on the command line, mode and path.
#pragma once

#include "moehill/base/words.h"

namespace moehill {

enum class Spread {
  none,          // one device does all
  dp,            // tokens sharded, experts replicated
  compact_psum,  // from here on experts are sharded, and this is how rows are exchanged
  dense_masked,
  ring_ag_rs,
  ragged_a2a,
  fused,
  hierarchical,
};
constexpr auto words(Spread) {
  return std::array{"none",       "dp",         "compact_psum", "dense_masked",
                    "ring_ag_rs", "ragged_a2a", "fused",        "hierarchical"};
}

enum class ParallelMode { none, dp, ep };
constexpr auto words(ParallelMode) { return std::array{"none", "dp", "ep"}; }

inline constexpr Spread kEpPaths[] = {Spread::compact_psum, Spread::dense_masked, Spread::ring_ag_rs,
                                      Spread::ragged_a2a,   Spread::fused,        Spread::hierarchical};

// Expert parallelism.
constexpr bool is_ep(Spread spread) { return spread >= Spread::compact_psum; }
// Tokens replicated, and one all-reduce a pass.
constexpr bool is_psum(Spread spread) {
  return spread == Spread::compact_psum || spread == Spread::dense_masked;
}
// Tokens' rows go to the devices of their experts and to no others.
constexpr bool routes_rows(Spread spread) { return spread >= Spread::ragged_a2a; }
// Each device has its own tokens and nobody else's.
constexpr bool shards_tokens(Spread spread) {
  return spread == Spread::dp || spread == Spread::ring_ag_rs || routes_rows(spread);
}

constexpr ParallelMode mode_of(Spread spread) {
  return is_ep(spread) ? ParallelMode::ep : static_cast<ParallelMode>(spread);
}
// `path` counts with ep alone.
constexpr Spread spread_of(ParallelMode mode, Spread path) {
  return mode == ParallelMode::ep ? path : static_cast<Spread>(mode);
}

// The psum paths compute the shared expert on each device for its slice of the tokens, or for all tokens.
enum class SharedPlacement { sliced, replicated };
constexpr auto words(SharedPlacement) { return std::array{"sliced", "replicated"}; }

}  // namespace moehill

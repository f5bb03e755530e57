// Spread is the way in which the block is spread over devices. On the command line it has two words,
// --parallel-mode and --ep-path. The paths of parallel/path.h implement it.
//
//   spread_of(ParallelMode::ep, Spread::fused);   // Spread::fused
//   mode_of(Spread::fused);                       // ParallelMode::ep
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "moehill/base/words.h"

namespace moehill {

// Spread lists the ways to spread a block. From compact_psum on, experts are sharded.
enum class Spread {
  none,          // one device does everything
  dp,            // tokens sharded, experts on every device
  compact_psum,  // tokens on every device; each packs the rows of its experts; one all-reduce adds up
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

// True for expert parallelism: experts are sharded.
constexpr bool is_ep(Spread spread) { return spread >= Spread::compact_psum; }
// True if every device has all tokens and one all-reduce in each pass adds the results.
constexpr bool is_psum(Spread spread) {
  return spread == Spread::compact_psum || spread == Spread::dense_masked;
}
// True if the rows of tokens go to the devices of experts. Only these paths have experts of another width.
constexpr bool moves_rows(Spread spread) { return is_ep(spread) && !is_psum(spread); }
// True if the rows of tokens go only to the devices of their experts.
constexpr bool routes_rows(Spread spread) { return spread >= Spread::ragged_a2a; }
// True if each device has only its own tokens.
constexpr bool shards_tokens(Spread spread) {
  return spread == Spread::dp || spread == Spread::ring_ag_rs || routes_rows(spread);
}

constexpr ParallelMode mode_of(Spread spread) {
  return is_ep(spread) ? ParallelMode::ep : static_cast<ParallelMode>(spread);
}
// `path` matters only with mode ep.
constexpr Spread spread_of(ParallelMode mode, Spread path) {
  return mode == ParallelMode::ep ? path : static_cast<Spread>(mode);
}

// SharedPlacement says where the psum paths compute the shared expert: on each device for its slice of the
// tokens, or on all devices for all tokens.
enum class SharedPlacement { sliced, replicated };
constexpr auto words(SharedPlacement) { return std::array{"sliced", "replicated"}; }

// The options that only some paths of expert parallelism have, by their names in records.
inline constexpr std::array kPathOptions = {"waves", "ring_split", "shared_placement"};
// Returns true for these options and for ep_path itself.
constexpr bool goes_with_path(std::string_view option) {
  return option == "ep_path" ||
         std::find(kPathOptions.begin(), kPathOptions.end(), option) != kPathOptions.end();
}
// Returns true for an option that only expert parallelism has. It changes nothing in points of other modes.
constexpr bool is_ep_option(std::string_view option) {
  return goes_with_path(option) || option == "wire" || option == "placement";
}

}  // namespace moehill

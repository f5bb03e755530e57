// Moves: the changes of a configuration that a climb tries, axis by axis, as options of bench.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/store/results.h"

namespace moehill {

// Where nothing is predicted, they are tried in this order: what usually gains most comes first.
enum class ClimbAxis {
  spread,  // parallel mode, path, devices x threads
  impl,
  blocks,
  remat_mode,
  backend,
  shared_placement,
  ring_split,
  shared_fused,
  routing_pack_strategy
};
constexpr auto words(ClimbAxis) {
  return std::array{"spread",           "impl",       "blocks",       "remat_mode",           "backend",
                    "shared_placement", "ring_split", "shared_fused", "routing_pack_strategy"};
}

struct ClimbSpace {
  int cores = 1;
  // Block sizes worth a look for a configuration, as --blocks has them.
  std::function<std::vector<std::string>(const StoredJson& options)> blocks;
};

// Options of bench, _ for -, and how they are changed: null leaves one out.
StoredJson changed(StoredJson options, const StoredJson& change);

// The changes along an axis. `base`: the options that were asked for, which are kept; an axis that they name
// is not moved. `options`: the configuration as it is, `resolved`: the same with every default. A change may
// turn out to be what is there already, or to be refused.
std::vector<StoredJson> changes_along(ClimbAxis axis, const StoredJson& base, const StoredJson& options,
                                      const StoredJson& resolved, const ClimbSpace& space);

// Says in words where a configuration stands on an axis: "ep fused 2 devices x 1 thread", "fast".
std::string place_on(ClimbAxis axis, const StoredJson& resolved);

// Those of a configuration that climbs move.
StoredJson moved_options(const StoredJson& options);

// Returns as a text those resolved options that say what is computed, and not how. Results with one key can
// be compared.
std::string problem_key(const StoredJson& resolved);

}  // namespace moehill

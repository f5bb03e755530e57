// Moves are the changes of a configuration that a climb tries, axis by axis, as options of bench. This file
// only proposes them: a change may equal the current configuration, or be refused.
//
//     for (const StoredJson& change : changes_along(ClimbAxis::impl, base, options, resolved, space))
//       try_out(changed(options, change));   // {"impl": "baseline"}, {"impl": "fused_w13"}, ...
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/store/results.h"

namespace moehill {

// ClimbAxis is what a move changes. If nothing is predicted, a climb tries the axes in this order, which
// begins with the axes that usually gain the most.
enum class ClimbAxis {
  spread,  // parallel mode, path, devices x threads
  impl,
  blocks,
  remat_mode,
  backend,
  shared_placement,
  ring_split,
  waves,
  shared_fused,
  routing_pack_strategy
};
constexpr auto words(ClimbAxis) {
  return std::array{"spread",           "impl",       "blocks", "remat_mode",   "backend",
                    "shared_placement", "ring_split", "waves",  "shared_fused", "routing_pack_strategy"};
}

// ClimbSpace is what the machine allows.
struct ClimbSpace {
  int cores = 1;
  // Returns block sizes that are worth a look for a configuration, in the form of --blocks.
  std::function<std::vector<std::string>(const StoredJson& options)> blocks;
};

// Returns true if climbs move this option of bench.
bool is_moved(const std::string& option);

// Throws InputError for options that no climb moves. They come from the file `path`, which must not make
// bench write files, or do anything else that nobody asked for.
void require_moved(const StoredJson& options, const std::string& path);

// Changes options of bench (with _ for -); a null leaves an option out.
StoredJson changed(StoredJson options, const StoredJson& change);

// Returns the changes along an axis. `base` are the options that the user asked for. They are kept, and an
// axis that they name is not moved. `options` is the current configuration, and `resolved` the same with
// every default. A change may equal the current configuration, or be refused.
std::vector<StoredJson> changes_along(ClimbAxis axis, const StoredJson& base, const StoredJson& options,
                                      const StoredJson& resolved, const ClimbSpace& space);

// Returns the options, and after them what to try if these options do not go together: an option that another
// axis has set may not go with a change, such as blocks with another backend. First each such option is left
// out, then all of them. What was asked for (`base`) stays.
std::vector<StoredJson> with_fallbacks(const StoredJson& options, const StoredJson& base);

// Says in words where a configuration stands on an axis: "ep fused 2 devices x 1 thread", "impl=fast".
std::string place_on(ClimbAxis axis, const StoredJson& resolved);

// Says why an arm is routed otherwise than the configuration that it is compared with; empty if it is not.
// Some distributions depend on the devices, so another layout is another problem.
std::string other_routing(const StoredJson& resolved, const StoredJson& arm);

// Returns the options of a configuration that climbs move, without those that are `given` anyway.
StoredJson moved_options(const StoredJson& options, const StoredJson& given);

// Returns the `given` options that make the space of a climb smaller, then the resolved ones that say what is
// computed, and not how, as a text: "given impl=fast: tokens=64 hidden=32". Results with the same key can be
// compared, and climbs with the same key search among the same configurations.
std::string problem_key(const StoredJson& resolved, const StoredJson& given);

}  // namespace moehill

// Advice: is expert parallelism worth it on so many nodes of some hardware, by which path, over how many
// devices; from the model, beside the baselines that can exist. A process has the memory of one node, so
// `none` never spans nodes, and with `dp` every device holds all experts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/prediction.h"

namespace moehill {

struct AdviceQuestion {
  MoeShape shape{};  // its tokens are not read
  int64_t tokens_per_device = 1024;
  Pass pass = Pass::forward_backward;
  DistributionOptions distribution{};
  int nodes = 1;
  Wire wire = Wire::native;  // of groups of devices on several nodes
  uint32_t seed = 0;
  std::string shape_options;  // as they are given to other commands
};

// One way to use all devices: groups of devices that share the experts and work side by side, each on its own
// tokens. In training the groups add up their gradients.
struct AdviceLine {
  Spread spread = Spread::none;
  int groups = 1, devices = 1, units = 1;  // devices of a group, units (cores, or chips) of a device
  Prediction prediction;
  double gradients_s = 0;   // of adding up gradients between groups
  double tokens_per_s = 0;  // of all groups
  double rank_bytes = 0, node_bytes = 0;
  bool fits = true;

  double step_s() const { return prediction.time_s + gradients_s; }
};

struct Advice {
  std::vector<AdviceLine> lines;       // what fits first, and of that the fastest
  const AdviceLine* best() const;      // of expert parallelism; null: nothing fits
  const AdviceLine* baseline() const;  // the fastest without it; null: the weights fit nowhere
};

// Throws InputError where the hardware has not so many nodes.
Advice advise(const AdviceQuestion& question, const Hardware& hardware);

// Nodes that so many devices are on.
int nodes_of(const Hardware& hardware, int devices);
// "2 nodes x 8 devices x 16 cores".
std::string layout_text(const Hardware& hardware, int devices, int units);
// Returns this as the cell of a table: "2x8x16", under layout_header().
std::string layout_cell(const Hardware& hardware, int devices, int units);
std::string layout_header(const Hardware& hardware);

// The largest part of a step: its name in words, and its share.
struct Binding {
  std::string what;
  double share = 0;
};
Binding binding_of(const AdviceLine& line);

// The answer in one sentence, the table, and what to run to verify it. `error`: of the model, in words.
std::string advice_text(const Advice& advice, const AdviceQuestion& question, const Hardware& hardware,
                        const std::string& error);

}  // namespace moehill

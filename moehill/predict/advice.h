// Advice tells whether expert parallelism pays off on a number of nodes of some hardware, by which path and
// over how many devices. By the model it compares expert parallelism with two baselines: `none` on each node,
// since a process has the memory of one node only, and `dp`, in which every device holds all experts. Nothing
// is measured. The text ends with the commands that would verify the advice.
//
//     const Advice advice = advise({.shape = shape, .nodes = 4}, load_hardware("epyc-cluster"));
//     if (const AdviceLine* best = advice.best()) fmt::print("{:.0f} tokens/s\n", best->tokens_per_s);
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/prediction.h"

namespace moehill {

// AdviceQuestion is the question that a user asks.
struct AdviceQuestion {
  MoeShape shape{};  // its tokens are not read
  int64_t tokens_per_device = 1024;
  Pass pass = Pass::forward_backward;
  DistributionOptions distribution{};
  int nodes = 1;
  Wire wire = Wire::native;  // of rows between nodes
  uint32_t seed = 0;
  std::string shape_options;  // the shape as options of other commands
  std::string hardware;       // the value of --hardware; empty: the hardware's own name
  std::string probe;          // the file of --probe; empty: the default one
};

// AdviceLine is one way to use all devices: groups of devices that share the experts and work side by side,
// each group on its own tokens. In training the groups add up their gradients.
struct AdviceLine {
  Spread spread = Spread::none;
  int groups = 1, devices = 1, units = 1;  // devices of a group, units (cores or chips) of a device
  Prediction prediction;
  double gradients_s = 0;   // of adding up gradients between groups
  double tokens_per_s = 0;  // of all groups together
  double rank_bytes = 0, node_bytes = 0;
  bool fits = true;

  double step_s() const { return prediction.time_s + gradients_s; }
};

// Advice is all ways, best first.
struct Advice {
  std::vector<AdviceLine> lines;       // those that fit come first, the fastest before the others
  const AdviceLine* best() const;      // of expert parallelism; null: nothing fits
  const AdviceLine* baseline() const;  // the fastest of none and dp; null: the weights fit nowhere
};

// Throws InputError if the hardware has fewer than question.nodes nodes.
Advice advise(const AdviceQuestion& question, const Hardware& hardware);

// Returns how many nodes `devices` devices take.
int nodes_of(const Hardware& hardware, int devices);
// Returns "2 nodes x 8 devices x 16 cores", or "12 devices x 16 cores on 2 nodes" if the last node has fewer
// devices than the others.
std::string layout_text(const Hardware& hardware, int devices, int units);

// Binding is the largest part of a step: its name in words, and its share.
struct Binding {
  std::string what;
  double share = 0;
};
Binding binding_of(const AdviceLine& line);

// Returns the answer in one sentence, the table, and the commands that verify it. `error` is the error of the
// model, in words.
std::string advice_text(const Advice& advice, const AdviceQuestion& question, const Hardware& hardware,
                        const std::string& error);

}  // namespace moehill

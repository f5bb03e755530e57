// The forms of a collective: in how many steps the slices of P devices travel, and from which device to
// which. The forms say nothing of time, which the simulator finds.
//
//     const CollectiveSteps steps(CollectiveForm::tree, nodes, num_devices);
//     for (int s = 0; s < steps.num_gather_steps(); ++s) send(steps.gather_step(slices, s));
#pragma once

#include <vector>

#include "moehill/base/words.h"
#include "moehill/mesh/nodes.h"
#include "moehill/simulation/exchange.h"

namespace moehill {

// Each form is described first for slices that all devices get, then for an all_to_all.
//
//   direct     Every device sends to every other one in a single step. All_to_all: likewise.
//   ring       Each device passes slices on to the next one, P - 1 times. All_to_all: as direct.
//   tree       A slice spreads along a binomial tree from its device in ceil(log2 P) steps; slices that
//              go the same way in a step are one message. All_to_all: bytes move on by 1, 2, 4, ... devices.
//   two-level  A slice goes once to each node, to the device in the same place there, and spreads inside.
//              All_to_all: bytes for another node first go to the device of the own node in that place.
enum class CollectiveForm { direct, ring, tree, two_level };
constexpr auto words(CollectiveForm) { return std::array{"direct", "ring", "tree", "two-level"}; }

// CollectiveSteps gives the steps of collectives among these devices. Each step is one exchange.
class CollectiveSteps {
 public:
  CollectiveSteps(CollectiveForm form, const Nodes& nodes, int num_devices)
      : form_(form), nodes_(nodes), num_devices_(num_devices) {}

  // The gather steps bring the slices of all devices to every device. A reduce_scatter has the same steps
  // from the last to the first, with each message in the other direction.
  int num_gather_steps() const;
  ByteMatrix gather_step(const std::vector<int64_t>& slices, int step) const;
  ByteMatrix scatter_step(const std::vector<int64_t>& slices, int step) const;
  // Returns how many messages a pair exchanges in such a step, one after the other.
  int messages_of_pair() const { return form_ == CollectiveForm::ring ? num_devices_ - 1 : 1; }

  // The pair steps make an all_to_all. A ring takes the direct form, in which each device already sends to
  // the devices after it in turn.
  int num_pair_steps() const;
  ByteMatrix pair_step(const ByteMatrix& pairs, int step) const;

 private:
  int num_tree_steps() const;
  CollectiveForm form_;
  const Nodes& nodes_;
  int num_devices_;
};

}  // namespace moehill

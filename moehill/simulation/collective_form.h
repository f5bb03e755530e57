// The forms of a collective: in which steps the slices of P devices travel, and from whom to whom.
#pragma once

#include <vector>

#include "moehill/base/words.h"
#include "moehill/mesh/nodes.h"
#include "moehill/simulation/exchange.h"

namespace moehill {

// The first sentence of a form is for slices that all devices get, the second for an all_to_all.
//   direct     Every device sends to every other one, in one step. So it does in an all_to_all.
//   ring       Each device passes slices on to the next one, P - 1 times. An all_to_all is direct.
//   tree       Each slice spreads along a binomial tree from its device, in ceil(log2 P) steps; what goes the
//              same way in a step is one message. What is for another device goes on by 1, 2, 4, ... devices.
//   two-level  Slices go once to each node, to the device in the same place there, and spread inside of it.
//              What is for a device of another node first goes to the device in that place of the own node.
enum class CollectiveForm { direct, ring, tree, two_level };
constexpr auto words(CollectiveForm) { return std::array{"direct", "ring", "tree", "two-level"}; }

// The steps of collectives among these devices. Each step is an exchange.
class CollectiveSteps {
 public:
  CollectiveSteps(CollectiveForm form, const Nodes& nodes, int num_devices)
      : form_(form), nodes_(nodes), num_devices_(num_devices) {}

  // In the gather steps every device gets the slices of all. A reduce_scatter has the same steps from the
  // last to the first, with each message the other way.
  int num_gather_steps() const;
  ByteMatrix gather_step(const std::vector<int64_t>& slices, int step) const;
  ByteMatrix scatter_step(const std::vector<int64_t>& slices, int step) const;
  // Returns how many messages each pair exchanges in such a step, one after the other.
  int messages_of_pair() const { return form_ == CollectiveForm::ring ? num_devices_ - 1 : 1; }

  // These are the steps of an all_to_all. With a ring it is direct, where devices send to the next ones in
  // turn anyway.
  int num_pair_steps() const;
  ByteMatrix pair_step(const ByteMatrix& pairs, int step) const;

 private:
  int num_tree_steps() const;
  CollectiveForm form_;
  const Nodes& nodes_;
  int num_devices_;
};

}  // namespace moehill

// The forms of a collective: in which steps the slices of P devices travel, and from whom to whom.
#pragma once

#include <vector>

#include "moehill/base/words.h"
#include "moehill/mesh/nodes.h"
#include "moehill/simulation/exchange.h"

namespace moehill {

// direct: every device sends to every other one, in one step.
// ring: slices go on from each device to the next, P - 1 times.
// tree: each slice spreads along a binomial tree from its device, in ceil(log2 P) steps; what goes the same
// way in a step is one message. What one device has for another goes on by 1, 2, 4, ... devices.
// two-level: slices go once to each node, to the device in the same place, and spread inside of it. What one
// device has for another goes to the device of its node in that place first.
enum class CollectiveForm { direct, ring, tree, two_level };
constexpr auto words(CollectiveForm) { return std::array{"direct", "ring", "tree", "two-level"}; }

// The steps of collectives among these devices; each is an exchange.
class CollectiveSteps {
 public:
  CollectiveSteps(CollectiveForm form, const Nodes& nodes, int num_devices)
      : form_(form), nodes_(nodes), num_devices_(num_devices) {}

  // Every device gets the slices of all. A reduce_scatter is the same from the last step to the first, each
  // message the other way.
  int num_gather_steps() const;
  ByteMatrix gather_step(const std::vector<int64_t>& slices, int step) const;
  ByteMatrix scatter_step(const std::vector<int64_t>& slices, int step) const;
  // Messages of each pair in a step of these, one after the other.
  int messages_of_pair() const { return form_ == CollectiveForm::ring ? num_devices_ - 1 : 1; }

  // all_to_all. A ring's order of it, to the next devices in turn, is the direct one.
  int num_pair_steps() const;
  ByteMatrix pair_step(const ByteMatrix& pairs, int step) const;

 private:
  int num_tree_steps() const;
  CollectiveForm form_;
  const Nodes& nodes_;
  int num_devices_;
};

}  // namespace moehill

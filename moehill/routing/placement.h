// A Placement says which device has which experts, and which experts have copies. It balances the load of
// devices when some experts are busier than others. It is made before a run from expected loads; nothing
// moves in a step.
//
// A place is a slot for one expert's weights. Each device has a contiguous share of the places
// (base/partition.h), so a placement is a list of the experts in the order of the places. A routing under a
// placement has places instead of experts.
//
//   const Placement placement = greedy_placement(expert_load(routing), num_devices, num_copies);
//   const Routing placed = place(routing, placement);   // its expert ids are places
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

struct Placement {
  std::vector<int32_t> expert;  // [places] the expert of each place; each expert has at least one place
  int num_places() const { return static_cast<int>(expert.size()); }
};

// Returns the placement that has expert e at place e, which is the default.
Placement contiguous_placement(int num_experts);

// Makes a placement from `load`, the expected assignments of each expert. First it gives out num_copies more
// places, one after the other, each to the expert whose copies have the most load and which is not on every
// device yet. Then all copies, by falling load, go to the device with the least load that has a free place
// and does not have the expert.
Placement greedy_placement(const std::vector<int64_t>& load, int num_devices, int num_copies = 0);

// Makes a placement in two steps. First, num_groups groups of neighbouring experts go to the nodes, by
// falling load and equally many to each; then the experts of a node go to its devices. A token that may
// choose from few groups therefore reaches few nodes. num_nodes must divide num_groups and num_devices;
// num_groups and num_devices must divide the number of experts.
Placement hierarchical_placement(const std::vector<int64_t>& load, int num_devices, int num_nodes,
                                 int num_groups);

// Returns the routing with places in place of experts. The copies of an expert take its tokens in turn.
Routing place(const Routing& routing, const Placement& placement);

// Returns [places]: the home of each place, which is the first place of its expert. The gradients of copies
// are added up there.
std::vector<int32_t> home_places(const Placement& placement);
int num_copies(const Placement& placement);  // the number of places that are no homes

// Returns [P, P]: how many places of device `from` have their home on another device `to`, so that gradients
// go from one to the other.
std::vector<int64_t> copies_by_device(const Placement& placement, int num_devices);

// Throws InputError, with `what` as its subject, if the placement does not fit num_experts and num_devices:
// an id is out of range, an expert is nowhere or twice on a device, or there are fewer places than experts.
void require_placement(const std::string& what, const Placement& placement, int num_experts, int num_devices);
// PlacementRule is the rule by which a placement is made; docs/metrics.md explains the rules.
struct PlacementRule {
  enum Kind { file, greedy, hierarchical } kind = file;
  std::string path;
  int copies = 0, nodes = 1, groups = 1;
};
inline constexpr const char* kPlacementForms = "FILE|greedy[:COPIES]|hierarchical:NODES,GROUPS";
// Reads one of kPlacementForms. Throws InputError that names --placement.
PlacementRule parse_placement(const std::string& text);
// Makes a placement by a rule other than a file. Throws InputError if the rule cannot be applied to these
// sizes.
Placement make_placement(const PlacementRule& rule, const std::vector<int64_t>& load, int num_devices);

// Reads a file {"placement": [expert of place 0, ...]}. Throws InputError for anything else.
Placement read_placement(const std::string& path);
void write_placement(const std::string& path, const Placement& placement);

// Returns [devices]: how many experts each device has under `to` and not under `from`. It would receive their
// weights.
std::vector<int64_t> received_experts(const Placement& from, const Placement& to, int num_devices);

}  // namespace moehill

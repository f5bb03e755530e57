// Placement: which device has which experts, and copies of the busiest ones.
//
// Devices hold contiguous shares of places (base/partition.h), so a placement is the order of the experts in
// these, and a routing under it is the same routing with places for experts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

struct Placement {
  std::vector<int32_t> expert;  // [places] whose weights a place has; each expert at one place at least
  int num_places() const { return static_cast<int>(expert.size()); }
};

// Expert e at place e: where no placement was made.
Placement contiguous_placement(int num_experts);

// `load`: assignments of each expert that are expected. First num_copies more places are given, one after the
// other, to the expert whose copies have the most each, as long as it is not on every device. Then the
// copies, by falling load, go to the device with the least load of those that have a free place and not that
// expert.
Placement greedy_placement(const std::vector<int64_t>& load, int num_devices, int num_copies = 0);

// Places experts in two steps: num_groups groups of neighbouring experts to the nodes, by falling load,
// equally many to each; then the experts of each node to its devices. A token whose groups are limited meets
// as few nodes as before. num_nodes divides both num_groups and num_devices, num_groups and num_devices
// divide the experts.
Placement hierarchical_placement(const std::vector<int64_t>& load, int num_devices, int num_nodes,
                                 int num_groups);

// The routing among places. The copies of an expert take its tokens in turn.
Routing place(const Routing& routing, const Placement& placement);

// [places] the first place of each place's expert.
std::vector<int32_t> home_places(const Placement& placement);
int num_copies(const Placement& placement);  // places that are no homes

// [P, P] how many places of device `from` have their home on another device `to`: gradients that go there.
std::vector<int64_t> copies_by_device(const Placement& placement, int num_devices);

// Throws InputError, with `what` as its subject, for a placement that is none of so many experts on so many
// devices: an id out of range, an expert nowhere, one twice on a device, fewer places than devices.
void require_placement(const std::string& what, const Placement& placement, int num_experts, int num_devices);
// The rule by which a placement is made; docs/metrics.md.
struct PlacementRule {
  enum Kind { file, greedy, hierarchical } kind = file;
  std::string path;
  int copies = 0, nodes = 1, groups = 1;
};
inline constexpr const char* kPlacementForms = "FILE|greedy[:COPIES]|hierarchical:NODES,GROUPS";
// Throws InputError in the name of --placement.
PlacementRule parse_placement(const std::string& text);
// Makes a placement by a rule that is no file. Throws InputError where the rule gives none for these.
Placement make_placement(const PlacementRule& rule, const std::vector<int64_t>& load, int num_devices);

// A file {"placement": [expert of place 0, ...]}; throws InputError for what is not.
Placement read_placement(const std::string& path);
void write_placement(const std::string& path, const Placement& placement);

// Experts whose weights each device has under `to` and not under `from`: what it receives. [devices]
std::vector<int64_t> received_experts(const Placement& from, const Placement& to, int num_devices);

}  // namespace moehill

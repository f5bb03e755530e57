// Flights: what a device computes while rows are on their way between nodes, by the order of a step's parts.
#pragma once

#include <string_view>
#include <vector>

#include "moehill/model/work.h"

namespace moehill {

// Products of a stage that run meanwhile: all of them, or those of the own tokens' rows.
struct Meanwhile {
  const char* stage;
  bool own_rows;
};

// Whether rows travel without the devices' units: between nodes, and between chips. Within a node of cores
// the units themselves copy.
bool rows_fly(const WorkProblem& problem, const ClusterTopology& topology, bool is_chip, int num_devices);
// What covers the rows of a stage; empty: nothing.
std::vector<Meanwhile> work_meanwhile(const WorkProblem& problem, std::string_view stage);

}  // namespace moehill

// The correctness grid: which combinations of choices `moehill check` runs, on which small and awkward
// problems.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"

namespace moehill {

struct GridOptions {
  int num_devices = 2;
  bool fixed_devices = false;  // else more where a problem asks for more devices than experts or tokens
  int threads_per_device = 1;
  bool several_processes = false;  // then as if on one node, on nodes of one rank, or on nodes of two
  bool quick = false;              // about an eighth of the cases
  // The wire of rows between nodes. All cases whose path can have it get it; native: only the cases that are
  // about wires have one.
  Wire wire = Wire::native;
};

struct GridCase {
  int number = 0;  // the same with and without --quick
  int combination =
      0;              // cases of one combination differ in the parallel mode and path alone; none comes first
  std::string group;  // a line of the table
  RunConfig config;
  std::optional<Routing> routing;  // made by hand; empty: random
  bool leaves_experts_empty = false;
};

// Every form of the block on one odd shape; every pack strategy; forward alone with both queue modes; the
// awkward problems (empty experts, all tokens on one expert, k = E, one token, fewer experts or tokens than
// devices); every router; every expert form; and every wire between nodes. Choices that a part does not span
// vary from combination to combination by a hash, so that pairs of choices meet.
std::vector<GridCase> make_grid(const GridOptions& options);

// Size of the full product on one shape that the grid samples.
int64_t full_product_size();

std::string to_string(const GridCase& grid_case);

}  // namespace moehill

// The correctness grid: the combinations of choices that `moehill check` runs, on small and awkward problems.
// It is a list; cli/check_command.cc runs it and compares each case with the oracle.
//
//     for (const GridCase& grid_case : make_grid({.num_devices = 2, .quick = true}))
//       fmt::print("{}\n", to_string(grid_case));
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"

namespace moehill {

// GridOptions are the options of `moehill check`.
struct GridOptions {
  int num_devices = 2;
  // False: a case gets more devices than num_devices if its problem needs them, for example to have more
  // devices than experts or tokens.
  bool fixed_devices = false;
  int threads_per_device = 1;
  // True: the cases run on the nodes as they are, or as if on nodes of one rank or of two.
  bool several_processes = false;
  bool quick = false;  // run about an eighth of the cases
  // The wire (the type) of rows between nodes. Every case whose path can use a wire gets this one. With
  // native, only the cases that test wires have one.
  Wire wire = Wire::native;
};

// GridCase is one case of the grid.
struct GridCase {
  int number = 0;  // the same with and without --quick
  // Cases of one combination differ only in the parallel mode and path; the one without parallelism comes
  // first.
  int combination = 0;
  std::string group;  // the line of the table that counts it
  RunConfig config;
  std::optional<Routing> routing;  // made by hand; empty: random
  bool leaves_experts_empty = false;
};

// Returns the grid. Its parts are: every form of the block on one odd shape; every pack strategy; forward
// alone with both queue modes; the awkward problems (empty experts, all tokens on one expert, k = E, one
// token, fewer experts or tokens than devices); every router; every expert form, also with gate values on the
// inputs; every wire between nodes. Choices that a part does not span vary from combination to combination by
// a hash, so that pairs of choices meet.
std::vector<GridCase> make_grid(const GridOptions& options);

// Returns the size of the full product on one shape, of which the grid is a sample.
int64_t full_product_size();

std::string to_string(const GridCase& grid_case);

}  // namespace moehill

// Options of `moehill simulate`, as values.
//
//     SimulateOptions options{.hardware = "epyc-cluster", .devices = 256};
//     options.tokens_at(256);   // 262144: 1024 on each device
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/routing/distribution_options.h"
#include "moehill/simulation/collective_form.h"

namespace moehill {

// Scaling: one size, sizes with the same tokens on each device (weak), or with the same tokens in all
// (strong).
enum class Scaling { none, weak, strong };
constexpr auto words(Scaling) { return std::array{"none", "weak", "strong"}; }

inline constexpr int64_t kMostSimulatedDevices = 4096;

struct SimulateOptions {
  std::string hardware = "epyc-cluster";
  int64_t devices = 64, nodes = 0;             // nodes 0: not given
  std::string preset, config;                  // a known model; or a model's config.json
  MoeShape shape{0, 2048, 1408, 60, 4, 5632};  // tokens 0: devices times tokens_per_device
  int64_t tokens_per_device = 1024;
  Pass pass = Pass::forward_backward;
  DistributionOptions distribution;
  Spread path = Spread::ragged_a2a;
  Wire wire = Wire::native;
  bool compare_paths = false;
  Scaling scaling = Scaling::none;
  int64_t exact_devices = 128, grouping = 0;  // 0: by the number of devices
  CollectiveForm form = CollectiveForm::direct;
  uint32_t seed = 0;
  std::string json;
  int64_t validate = 0;  // random shapes that are run here and simulated
  std::string record;    // file of records of runs that are simulated

  // Returns the paths that are simulated; of equal times the first one counts as the best. One device sends
  // nothing, so all paths are one there.
  std::vector<Spread> paths() const {
    if (!compare_paths || devices == 1) return {path};
    std::vector<Spread> all = {Spread::ragged_a2a, Spread::fused, Spread::hierarchical};
    // Other paths send no rows whose type could change.
    if (wire != Wire::native) return all;
    all.push_back(Spread::ring_ag_rs);
    if (shape.form.latent == 0) all.insert(all.end(), {Spread::compact_psum, Spread::dp});
    return all;
  }
  // Returns the configuration of the largest step, with this many devices a node, for functions that refuse
  // runs.
  RunConfig largest(int devices_per_node) const {
    return {.shape = shape,
            .spread = path,
            .ranks_per_node = devices_per_node,
            .wire = wire,
            .num_devices = static_cast<int>(devices)};
  }
  int64_t tokens_at(int64_t num_devices) const {
    if (shape.tokens > 0) return shape.tokens;
    return tokens_per_device * (scaling == Scaling::weak ? num_devices : devices);
  }
};

}  // namespace moehill

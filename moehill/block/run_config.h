// RunConfig: one point's problem, how its block is computed, and on which devices.
#pragma once

#include <vector>

#include "moehill/block/options.h"
#include "moehill/block/spread.h"
#include "moehill/tensor/wire.h"

namespace moehill {

enum class Switch { off, on };
constexpr auto words(Switch) { return std::array{"off", "on"}; }

inline constexpr const char* kWireHelp =
    "ep: form of the rows of x and dy that go to other nodes; fp8+scales: e4m3, a scale each 128 columns";

struct RunConfig {
  MoeShape shape{};
  BlockOptions block{};
  Spread spread = Spread::none;
  SharedPlacement shared_placement = SharedPlacement::sliced;  // of the psum paths only
  bool split_rows = false;  // ring_ag_rs: products of the own tokens' rows apart, while others travel
  // fused: into how many waves each device cuts its experts where rows go by messages. 0: default_waves() to
  // other nodes, else one; more: so many, and by messages on every mesh.
  int num_waves = 0;
  int ranks_per_node = 0;  // as if a node held no more devices; 0: the nodes as they are
  // ragged_a2a, fused, hierarchical: the form of the rows of x and dy that go to other nodes. Sums come back
  // as they are stored.
  Wire wire = Wire::native;
  // ep: [places] the expert of each place, of which devices have contiguous shares (routing/placement.h).
  // Empty: expert e at place e.
  std::vector<int32_t> placement{};
  int num_devices = 1;  // 1 with none
  int threads_per_device = 1;

  // These are the fields of its own; shape and block have theirs.
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    ParallelMode mode = mode_of(self.spread);
    Spread path = is_ep(self.spread) ? self.spread : Spread::compact_psum;
    visit(Field{"parallel_mode"}, Told{mode});
    visit(Field{"ep_path", "", 0, 0, is_ep(self.spread)}, Told{path});
    if constexpr (!std::is_const_v<Self>) self.spread = spread_of(mode, path);
    visit(Field{"shared_placement",
                "ep by psum: the shared expert on each device's slice of the tokens, or on all of them "
                "everywhere",
                0, 0, is_psum(self.spread) && self.shape.shared_dim > 0},
          self.shared_placement);
    Switch split = self.split_rows ? Switch::on : Switch::off;
    visit(Field{"ring_split", "", 0, 0, self.spread == Spread::ring_ag_rs}, Told{split});
    if constexpr (!std::is_const_v<Self>) self.split_rows = split == Switch::on;
    visit(Field{.name = "ranks_per_node", .present = self.ranks_per_node > 0}, self.ranks_per_node);
    visit(Field{.name = "wire", .present = self.wire != Wire::native}, self.wire);
    visit(Field{.name = "placement", .present = !self.placement.empty()}, self.placement);
    visit(Field{"devices", "", 1, 1024}, self.num_devices);
    visit(Field{"threads_per_device", "", 1, 1024}, self.threads_per_device);
  }
};

// Returns the configuration with as many experts as the placement has places. A place has weights, rows and
// gradients of its own, also where it holds a copy.
inline RunConfig over_places(RunConfig config) {
  if (!config.placement.empty()) config.shape.experts = static_cast<int>(config.placement.size());
  return config;
}

// Returns the block that the routed experts see where they are of another width than the model (form.latent):
// one of that width without a shared expert. Its rows are those that travel.
inline RunConfig routed_part(RunConfig config) {
  config.shape.hidden = config.shape.expert_hidden();
  config.shape.shared_dim = 0;
  config.shape.form.latent = 0;
  config.shape.form.latent_norm = 0;
  config.shape.form.shared_gate = false;
  return config;
}
// The rest of it: the shared expert, beside one that nobody asks for.
inline RunConfig outer_part(RunConfig config) {
  config.shape.experts = config.shape.topk = 1;
  config.shape.mlp_dim = config.shape.form.latent;
  config.shape.router = {};
  config.shape.form.biases = false;
  config.block.capacity = {};
  config.placement.clear();
  return config;
}

// Returns the path of expert parallelism that is taken while nothing better is known. Experts of another
// width, and rows in another form between nodes, need a path that moves rows.
inline Spread default_path(const MoeShape& shape, Wire wire = Wire::native) {
  return shape.form.latent > 0 || wire != Wire::native ? Spread::fused : Spread::compact_psum;
}

// Throws InputError for what a block does not do, and for choices that contradict each other.
void refuse_unbuilt(const RunConfig& config);

inline bool routes_rows(const RunConfig& config) { return routes_rows(config.spread); }
inline bool shards_tokens(const RunConfig& config) { return shards_tokens(config.spread); }

}  // namespace moehill

// RunConfig is one point of a benchmark: the problem, how its block is computed, and on which devices. A
// record stores it, and results are compared between equal configurations. It runs nothing.
//
//   RunConfig config;
//   config.shape = shape;
//   config.spread = Spread::fused;
//   config.num_devices = 2;
//   refuse_unbuilt(config);   // throws InputError for what cannot be run
#pragma once

#include <vector>

#include "moehill/block/options.h"
#include "moehill/block/spread.h"
#include "moehill/tensor/wire.h"

namespace moehill {

// Switch is an option that is on or off, and stands in a record by that word.
enum class Switch { off, on };
constexpr auto words(Switch) { return std::array{"off", "on"}; }

inline constexpr const char* kWireHelp =
    "ep: form of rows of x and dy between nodes; fp8+scales: e4m3, a scale for each 128 columns";

// A member's comment begins with the paths that use the member.
struct RunConfig {
  MoeShape shape{};
  BlockOptions block{};
  Spread spread = Spread::none;
  SharedPlacement shared_placement = SharedPlacement::sliced;  // psum paths only
  bool split_rows =
      false;  // ring_ag_rs: a device multiplies the rows of its own tokens while the others travel
  // fused: the number of waves into which each device cuts its experts when rows travel by messages. 0:
  // default_waves() between nodes, and one wave within a node. A larger number: exactly this many, and rows
  // travel by messages on every mesh.
  int num_waves = 0;
  int ranks_per_node = 0;  // pretends that a node holds no more devices than this; 0: nodes as they are
  // ragged_a2a, fused, hierarchical: the form in which rows of x and dy travel to other nodes. Sums always
  // travel as they are stored.
  Wire wire = Wire::native;
  // ep: [places] the expert of each place; each device has a contiguous share of the places
  // (routing/placement.h). Empty: expert e is at place e.
  std::vector<int32_t> placement{};
  int num_devices = 1;  // 1 if spread is none
  int threads_per_device = 1;

  // Visits all members except shape and block, which have fields of their own.
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    ParallelMode mode = mode_of(self.spread);
    Spread path = is_ep(self.spread) ? self.spread : Spread::compact_psum;
    visit(Field{"parallel_mode"}, Told{mode});
    visit(Field{"ep_path", "", 0, 0, is_ep(self.spread)}, Told{path});
    if constexpr (!std::is_const_v<Self>) self.spread = spread_of(mode, path);
    visit(Field{"shared_placement",
                "psum paths: a device computes the shared expert for its slice of the tokens, or for all", 0,
                0, is_psum(self.spread) && self.shape.shared_dim > 0},
          self.shared_placement);
    Switch split = self.split_rows ? Switch::on : Switch::off;
    visit(Field{"ring_split", "", 0, 0, self.spread == Spread::ring_ag_rs}, Told{split});
    if constexpr (!std::is_const_v<Self>) self.split_rows = split == Switch::on;
    visit(Field{"waves", "", 0, 1024, true, self.num_waves > 0}, self.num_waves);
    visit(Field{.name = "ranks_per_node", .present = self.ranks_per_node > 0}, self.ranks_per_node);
    visit(Field{.name = "wire", .present = self.wire != Wire::native}, self.wire);
    visit(Field{.name = "placement", .present = !self.placement.empty()}, self.placement);
    visit(Field{"devices", "", 1, 1024}, self.num_devices);
    visit(Field{"threads_per_device", "", 1, 1024}, self.threads_per_device);
  }
};

// Returns the configuration with as many experts as the placement has places. A place has weights, rows and
// gradients of its own even if it holds a copy of an expert.
inline RunConfig over_places(RunConfig config) {
  if (!config.placement.empty()) config.shape.experts = static_cast<int>(config.placement.size());
  return config;
}

// Returns the inner block for experts whose width is not the model's (form.latent): a block of the experts'
// width without a shared expert. The rows that travel have this width.
inline RunConfig routed_part(RunConfig config) {
  config.shape.hidden = config.shape.expert_hidden();
  config.shape.shared_dim = 0;
  config.shape.form.latent = 0;
  config.shape.form.latent_norm = 0;
  config.shape.form.shared_gate = false;
  return config;
}
// Returns the outer block: the shared expert, and one routed expert that no token chooses.
inline RunConfig outer_part(RunConfig config) {
  config.shape.experts = config.shape.topk = 1;
  config.shape.mlp_dim = config.shape.form.latent;
  config.shape.router = {};
  config.shape.form.biases = false;
  config.block.capacity = {};
  config.placement.clear();
  return config;
}

// Returns the default path of expert parallelism. Experts of another width, and a wire form between nodes,
// need a path that moves rows.
inline Spread default_path(const MoeShape& shape, Wire wire = Wire::native) {
  return shape.form.latent > 0 || wire != Wire::native ? Spread::fused : Spread::compact_psum;
}

// Throws InputError for combinations that a block does not support, and for choices that contradict each
// other.
void refuse_unbuilt(const RunConfig& config);

inline bool routes_rows(const RunConfig& config) { return routes_rows(config.spread); }
inline bool shards_tokens(const RunConfig& config) { return shards_tokens(config.spread); }

}  // namespace moehill

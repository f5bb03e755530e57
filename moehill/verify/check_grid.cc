// Implementation of verify/check_grid.h: which combinations are run. Each part spans some choices in full and
// draws the others by a hash of the combination's number.
#include "moehill/verify/check_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "moehill/base/rng.h"
#include "moehill/routing/router_families.h"

namespace moehill {
namespace {

constexpr Impl kImpls[] = {Impl::baseline, Impl::fused_w13, Impl::preweight, Impl::fused_w13_preweight,
                           Impl::scatter,  Impl::fast};
constexpr Impl kContrastingImpls[] = {Impl::baseline, Impl::fused_w13_preweight, Impl::fast};
constexpr Impl kInputWeightedImpls[] = {Impl::baseline, Impl::fused_w13, Impl::scatter, Impl::fast};
constexpr Backend kBackends[] = {Backend::gmm, Backend::ragged_dot};
constexpr Remat kRemats[] = {Remat::none, Remat::expert_mlp, Remat::combine};
constexpr PackStrategy kPacks[] = {PackStrategy::argsort, PackStrategy::tuple_sort,
                                   PackStrategy::expert_score_sort, PackStrategy::counting_sort};
constexpr Capacity kCapacities[] = {
    {CapacityPolicy::none, 0}, {CapacityPolicy::drop, 1.0}, {CapacityPolicy::pad, 1.25}};
constexpr bool kWithAndWithout[] = {true, false};
constexpr DType kDTypes[] = {DType::f32, DType::bf16};
// Mode 0 is none, mode kNumPaths + 1 is dp, and the modes between are the paths of expert parallelism.
constexpr int kNumPaths = static_cast<int>(std::size(kEpPaths));
constexpr int kNumModes = kNumPaths + 2;
constexpr uint32_t kQuickShare = 8;  // --quick runs one combination of eight

// Load says where the tokens of a problem go; `random` means as a router would send them.
enum class Load { random, three_experts, one_expert };

// Problem is a small block with a property that is easy to get wrong.
struct Problem {
  const char* name;
  MoeShape shape;
  Load load = Load::random;
  int min_devices = 1;
  Wire wire = Wire::native;
};

// No dimension is a multiple of a vector, a tile or a device count, so every remainder loop runs.
const Problem kOdd = {"odd shape", {37, 45, 27, 7, 3, 19}};
const Problem kAwkward[] = {
    {"empty experts", {37, 45, 27, 7, 3, 19}, Load::three_experts},
    {"all on one expert", {37, 45, 27, 7, 1, 19}, Load::one_expert},
    {"topk = experts", {13, 33, 19, 5, 5, 0}},
    {"one token", {1, 45, 27, 7, 3, 19}},
    {"two experts", {23, 29, 17, 2, 2, 11}, Load::random, 3},
    {"two tokens", {2, 21, 13, 5, 2, 9}, Load::random, 3},
};

// Returns a routing by hand: all assignments on experts 1, 2 and 5 in turn, or on expert 3, with uneven gate
// values.
Routing handmade_routing(const Problem& problem) {
  constexpr int kThree[] = {1, 2, 5};
  Routing routing{problem.shape.tokens, problem.shape.experts, problem.shape.topk, {}, {}};
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    for (int j = 0; j < routing.topk; ++j) {
      routing.expert.push_back(problem.load == Load::one_expert ? 3 : kThree[(t + j) % 3]);
      const int total = routing.topk * (routing.topk + 1) / 2;
      routing.weight.push_back(static_cast<float>(routing.topk - j) / static_cast<float>(total));
    }
  }
  return routing;
}

// GridBuilder builds the list. `draw` is a hash of the combination's number. Its bits decide the choices that
// a part does not span, so a case is the same in every run.
class GridBuilder {
 public:
  explicit GridBuilder(const GridOptions& options) : options_(options) {}

  // Adds one combination under all parallel modes. Skipped combinations count too, so a case has the same
  // number with --quick.
  void add(const std::string& part, const Problem& problem, DType dtype, const BlockOptions& block,
           bool per_mode) {
    const uint32_t draw = threefry(0, Stream::kSampleRows, combination_)[1];
    const bool skipped = options_.quick && draw % kQuickShare != 0;
    for (int mode = 0; mode < kNumModes; ++mode, ++number_) {
      if (skipped) continue;
      GridCase grid_case;
      grid_case.number = number_;
      grid_case.combination = static_cast<int>(combination_);
      grid_case.config = config_of(problem, dtype, block, mode, draw);
      grid_case.group =
          per_mode ? fmt::format("{}, {}, {}", part, name_of(spread_at(mode)), dtype_name(dtype)) : part;
      if (problem.load != Load::random) grid_case.routing = handmade_routing(problem);
      grid_case.leaves_experts_empty =
          problem.load != Load::random || problem.shape.assignments() < 3 * problem.shape.experts;
      cases_.push_back(grid_case);
    }
    ++combination_;
  }

  // Returns one of `values` for a choice that the part does not span. `which` gives several choices of a
  // combination different hashes.
  template <typename T, size_t N>
  T vary(const T (&values)[N], uint32_t which) const {
    return values[threefry(which, Stream::kSampleRows, combination_)[0] % N];
  }
  std::vector<GridCase> take() { return std::move(cases_); }

 private:
  static Spread spread_at(int mode) {
    if (mode == 0) return Spread::none;
    return mode > kNumPaths ? Spread::dp : kEpPaths[mode - 1];
  }

  RunConfig config_of(const Problem& problem, DType dtype, const BlockOptions& block, int mode,
                      uint32_t draw) const {
    const int devices =
        options_.fixed_devices ? options_.num_devices : std::max(problem.min_devices, options_.num_devices);
    RunConfig config;
    config.shape = problem.shape;
    config.shape.dtype = dtype;
    config.block = block;
    config.block.shared_fused = problem.shape.shared_dim > 0 && (draw >> 8) % 2 == 1;
    config.block.router_grad = block.pass == Pass::forward_backward && (draw >> 9) % 2 == 1;
    config.spread = spread_at(mode);
    // Some paths have no experts of another width, or no product of the router. In place of such a path, a
    // path that has them runs once more, because the modes of a combination are compared with each other.
    const bool has_latent = mode == 0 || moves_rows(config.spread);
    if ((config.shape.form.latent > 0 && !has_latent) || (block.router_product && is_psum(config.spread)))
      config.spread = mode == 1 ? Spread::fused : mode == 2 ? Spread::ragged_a2a : Spread::ring_ag_rs;
    config.block.route_in_step = block.route_in_step && (mode == 0 || shards_tokens(config));
    config.block.router_product = block.router_product && config.block.route_in_step;
    if ((draw >> 10) % 2 == 1 && !shards_tokens(config))
      config.shared_placement = SharedPlacement::replicated;
    config.split_rows = config.spread == Spread::ring_ag_rs && (draw >> 11) % 2 == 1;
    // Waves, ranks on a node and slices vary in the same way, by other bits of the draw.
    if (config.spread == Spread::fused) config.num_waves = static_cast<int>((draw >> 12) % 4);
    if (options_.several_processes && mode != 0) config.ranks_per_node = static_cast<int>((draw >> 14) % 3);
    config.num_devices = mode == 0 ? 1 : devices;
    if (config.spread == Spread::hierarchical) {
      config.ranks_per_node = static_cast<int>((draw >> 14) % 4);
      if (!options_.fixed_devices)
        config.num_devices = std::max(devices, 3 + static_cast<int>((draw >> 16) % 3));
    }
    const Wire wire = options_.wire == Wire::native ? problem.wire : options_.wire;
    if (wire != Wire::native) put_on_wire(wire, draw, config);
    config.threads_per_device =
        mode == 0 ? devices * options_.threads_per_device : options_.threads_per_device;
    return config;
  }

  // Sets the wire if the path sends rows that it changes, and puts the devices on several nodes.
  static void put_on_wire(Wire wire, uint32_t draw, RunConfig& config) {
    const bool changes = wire != Wire::bf16 || config.shape.dtype != DType::bf16;
    if (!routes_rows(config) || config.num_devices == 1 || !changes) return;
    config.wire = wire;
    if (config.ranks_per_node > 0 && config.ranks_per_node < config.num_devices) return;
    config.ranks_per_node = config.num_devices == 2 ? 1 : 1 + static_cast<int>((draw >> 18) % 2);
  }

  const GridOptions& options_;
  std::vector<GridCase> cases_;
  uint64_t combination_ = 0;
  int number_ = 0;
};

// Adds every backend, implementation, kind of recomputation and capacity.
void add_forms(GridBuilder& grid) {
  for (const DType dtype : kDTypes) {
    for (const Backend backend : kBackends) {
      for (const Impl impl : kImpls) {
        for (const Remat remat : kRemats) {
          for (const Capacity& capacity : kCapacities) {
            BlockOptions block{.backend = backend, .impl = impl, .remat = remat, .capacity = capacity};
            block.pack = grid.vary(kPacks, 1);
            grid.add("forms", kOdd, dtype, block, true);
          }
        }
      }
    }
  }
}

// Adds every way to sort assignments by expert.
void add_packs(GridBuilder& grid) {
  for (const DType dtype : kDTypes) {
    for (const PackStrategy pack : kPacks) {
      for (const Capacity& capacity : kCapacities) {
        grid.add("pack strategies", kOdd, dtype,
                 {.impl = grid.vary(kImpls, 1), .pack = pack, .capacity = capacity}, true);
      }
    }
  }
}

// Adds forward alone, with the plan made in the step and before it.
void add_forward(GridBuilder& grid) {
  for (const DType dtype : kDTypes) {
    for (const Backend backend : kBackends) {
      for (const Impl impl : kImpls) {
        for (const bool prequeue : {false, true}) {
          BlockOptions block;
          block.backend = backend;
          block.impl = impl;
          block.pass = Pass::forward;
          block.pack = grid.vary(kPacks, 1);
          block.capacity = grid.vary(kCapacities, 2);
          block.prequeue = prequeue;
          grid.add("forward", kOdd, dtype, block, true);
        }
      }
    }
  }
}

// Adds the problems that break hasty assumptions: no tokens for an expert, one token, more devices than
// experts.
void add_awkward(GridBuilder& grid) {
  for (const Problem& problem : kAwkward) {
    for (const Backend backend : kBackends) {
      for (const Impl impl : kContrastingImpls) {
        for (const Capacity& capacity : kCapacities) {
          BlockOptions block{.backend = backend, .impl = impl, .capacity = capacity};
          block.remat = grid.vary(kRemats, 1);
          block.pack = grid.vary(kPacks, 2);
          grid.add(problem.name, problem, grid.vary(kDTypes, 3), block, false);
        }
      }
    }
  }
}

// Adds every router of the block, with the routing made before the clock starts and in the step.
void add_routers(GridBuilder& grid) {
  for (const RouterFamily& family : kRouterFamilies) {
    Problem problem{"routers", {37, 45, 27, 12, 3, 19}};
    problem.shape.router = parse_router_rule(family.rule);
    for (const bool in_step : {false, true}) {
      BlockOptions block{.impl = grid.vary(kImpls, 1), .capacity = grid.vary(kCapacities, 2)};
      if (problem.shape.router.input_weighted) block.impl = grid.vary(kInputWeightedImpls, 1);
      block.backend = grid.vary(kBackends, 3);
      block.route_in_step = in_step;
      block.router_product = in_step && !problem.shape.router.expert_scale && grid.vary(kWithAndWithout, 5);
      grid.add(problem.name, problem, grid.vary(kDTypes, 4), block, false);
    }
  }
}

// Adds every backend and implementation with the form of this problem; the other choices vary.
void add_form_cases(GridBuilder& grid, const std::string& group, const Problem& problem,
                    std::span<const Impl> impls) {
  for (const Backend backend : kBackends) {
    for (const Impl impl : impls) {
      const BlockOptions block{.backend = backend,
                               .impl = impl,
                               .remat = grid.vary(kRemats, 1),
                               .capacity = grid.vary(kCapacities, 2)};
      grid.add(group, problem, grid.vary(kDTypes, 3), block, false);
    }
  }
}

// Adds gate values that multiply the inputs of experts, with every implementation that has them.
void add_input_weighted(GridBuilder& grid) {
  Problem problem{"input-weighted", {37, 45, 27, 7, 3, 19}};
  problem.shape.router = parse_router_rule("sigmoid,input-weighted");
  for (const char* form : {"silu", "swiglu-oai,limit:0.6", "relu2,ungated"}) {
    problem.shape.form = parse_expert_form(form);
    add_form_cases(grid, problem.name, problem, kInputWeightedImpls);
  }
}

// Adds every form of experts except plain SwiGLU. Experts of another width than the model's run on the paths
// that have them.
void add_expert_forms(GridBuilder& grid, std::span<const char* const> forms) {
  for (const char* form : forms) {
    Problem problem{"expert forms", {37, 45, 27, 7, 3, 19}};
    problem.shape.form = parse_expert_form(form);
    if (!(problem.shape.form == ExpertForm{}))
      add_form_cases(grid, fmt::format("form {}", form), problem, kImpls);
  }
}

// Adds every wire that changes rows between nodes. The rows are 150 wide, so their last block of 128 columns
// with one scale is not full.
void add_wires(GridBuilder& grid) {
  for (const DType dtype : kDTypes) {
    for (const Wire wire : {Wire::bf16, Wire::fp8_scales}) {
      if (wire == Wire::bf16 && dtype == DType::bf16) continue;
      Problem problem{"wires", {37, 150, 27, 7, 3, 19}};
      problem.wire = wire;
      for (const Backend backend : kBackends) {
        for (const Impl impl : kContrastingImpls) {
          const BlockOptions block{.backend = backend,
                                   .impl = impl,
                                   .remat = grid.vary(kRemats, 1),
                                   .capacity = grid.vary(kCapacities, 2)};
          grid.add(problem.name, problem, dtype, block, false);
        }
      }
    }
  }
}

}  // namespace

std::vector<GridCase> make_grid(const GridOptions& options) {
  GridBuilder grid(options);
  add_forms(grid);
  add_packs(grid);
  add_forward(grid);
  add_awkward(grid);
  add_routers(grid);
  add_expert_forms(grid, kExpertForms);
  add_input_weighted(grid);
  add_expert_forms(grid, kLatentForms);
  add_wires(grid);
  return grid.take();
}

int64_t full_product_size() {
  return static_cast<int64_t>(std::size(kImpls) * std::size(kBackends) * std::size(kRemats) *
                              std::size(kCapacities) * std::size(kDTypes) * std::size(kPacks) * kNumModes);
}

std::string to_string(const GridCase& grid_case) {
  const RunConfig& c = grid_case.config;
  const BlockOptions& b = c.block;
  std::string path = name_of(c.spread);
  if (is_ep(c.spread) && !shards_tokens(c)) path += std::string(" ") + name_of(c.shared_placement);
  if (c.split_rows) path += " split";
  if (c.num_waves > 0) path += fmt::format(" waves={}", c.num_waves);
  if (b.route_in_step) path += b.router_product ? " in-step product" : " in-step";
  if (c.wire != Wire::native) path += fmt::format(" wire={}", name_of(c.wire));
  if (c.ranks_per_node > 0) path += fmt::format(" ranks_per_node={}", c.ranks_per_node);
  return fmt::format("{} {} {} {} remat={} pack={} capacity={}{}{}{} {} {}x{}", to_string(c.shape),
                     name_of(b.pass), name_of(b.backend), name_of(b.impl), name_of(b.remat), name_of(b.pack),
                     name_of(b.capacity.policy), b.shared_fused ? " shared_fused" : "",
                     b.router_grad ? " router_grad" : "", b.prequeue ? " prequeue" : "", path, c.num_devices,
                     c.threads_per_device);
}

}  // namespace moehill

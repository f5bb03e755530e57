// Tests that the model's exact work equals what runs count: bytes of every device and FLOPs, for every path,
// with and without capacity, shared expert, and gate and up in separate products.
#include "moehill/model/work.h"

#include <gtest/gtest.h>

#include "moehill/api/measuring.h"
#include "moehill/block/stages.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/routing/placement.h"

namespace moehill {
namespace {

struct Variant {
  const char* name;
  void (*apply)(RunConfig&);
};

Activation ungated() { return {.function = ActivationFunction::relu2, .gated = false}; }

// Gives this wire to a path that sends rows, and puts its devices on nodes of two devices, or on one node if
// there are only two devices.
void put_on_wire(RunConfig& c, Wire wire) {
  if (!routes_rows(c) || c.num_devices == 1) return;
  c.wire = wire;
  c.ranks_per_node = c.num_devices == 2 ? 1 : 2;
}

const Variant kVariants[] = {
    {"plain", [](RunConfig&) {}},
    {"forward", [](RunConfig& c) { c.block.pass = Pass::forward; }},
    {"shared", [](RunConfig& c) { c.shape.shared_dim = 19; }},
    {"shared_fused", [](RunConfig& c) { c.shape.shared_dim = 19, c.block.shared_fused = true; }},
    {"replicated",
     [](RunConfig& c) { c.shape.shared_dim = 19, c.shared_placement = SharedPlacement::replicated; }},
    {"baseline", [](RunConfig& c) { c.block.impl = Impl::baseline; }},
    {"drop",
     [](RunConfig& c) {
       c.block.capacity = {CapacityPolicy::drop, 0.8};
     }},
    {"drop by gate",
     [](RunConfig& c) {
       c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 0.8, .order = CapacityOrder::gate};
     }},
    {"drop, pooled",
     [](RunConfig& c) { c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 0.8, .pool = 3}; }},
    {"drop by source",
     [](RunConfig& c) {
       c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 0.8, .sources = c.num_devices};
     }},
    {"spill",
     [](RunConfig& c) { c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 0.8, .spares = 2}; }},
    {"balance loss",
     [](RunConfig& c) {
       c.block.router_grad = true;
       c.block.balance_loss = parse_balance_loss("balance=0.1,sequence=0.1:37,z=0.01");
     }},
    {"placed",
     [](RunConfig& c) {
       if (is_ep(c.spread)) c.placement = {6, 0, 3, 1, 5, 2, 4};
     }},
    {"placed with copies",
     [](RunConfig& c) {
       if (is_ep(c.spread))
         c.placement =
             greedy_placement({9, 1, 5, 2, 8, 1, 3}, c.num_devices, c.num_devices > 1 ? 4 : 0).expert;
     }},
    {"pad",
     [](RunConfig& c) {
       c.block.capacity = {CapacityPolicy::pad, 1.2};
     }},
    {"recompute", [](RunConfig& c) { c.block.remat = Remat::expert_mlp, c.shape.shared_dim = 19; }},
    {"ungated", [](RunConfig& c) { c.shape.shared_dim = 19, c.shape.form.activation = ungated(); }},
    {"ungated_apart",
     [](RunConfig& c) {
       c.shape.shared_dim = 19, c.shape.form.activation = ungated(), c.block.impl = Impl::baseline;
       c.block.remat = Remat::expert_mlp;
     }},
    {"biases", [](RunConfig& c) { c.shape.form.biases = true; }},
    {"ungated_biases", [](RunConfig& c) { c.shape.form.biases = true, c.shape.form.activation = ungated(); }},
    {"shared_gate", [](RunConfig& c) { c.shape.shared_dim = 19, c.shape.form.shared_gate = true; }},
    {"input_weighted", [](RunConfig& c) { c.shape.router.input_weighted = true; }},
    {"f32", [](RunConfig& c) { c.shape.dtype = DType::f32; }},
    {"latent", [](RunConfig& c) { c.shape.form = parse_expert_form("silu,latent:21"); }},
    {"latent forward",
     [](RunConfig& c) {
       c.shape.form = parse_expert_form("silu,latent:21,latent-norm:1e-5");
       c.shape.shared_dim = 19, c.block.pass = Pass::forward;
     }},
    {"latent with a norm and a gated shared expert",
     [](RunConfig& c) {
       c.shape.form = parse_expert_form("situ,latent:33,latent-norm:1e-5,shared-gate"),
       c.shape.shared_dim = 19;
     }},
    {"latent in f32, ungated, recomputed",
     [](RunConfig& c) {
       c.shape.form = parse_expert_form("relu2,ungated,biases,latent:50"), c.shape.shared_dim = 19;
       c.shape.dtype = DType::f32, c.block.remat = Remat::expert_mlp;
     }},
    {"latent apart, drop",
     [](RunConfig& c) {
       c.shape.form = parse_expert_form("silu,latent:17"), c.block.impl = Impl::baseline;
       c.block.capacity = {CapacityPolicy::drop, 0.8};
     }},
    {"wire fp8+scales", [](RunConfig& c) { put_on_wire(c, Wire::fp8_scales); }},
    {"wire fp8+scales, forward, shared, drop",
     [](RunConfig& c) {
       put_on_wire(c, Wire::fp8_scales);
       c.block.pass = Pass::forward, c.shape.shared_dim = 19;
       c.block.capacity = {CapacityPolicy::drop, 0.8};
     }},
    {"wire bf16 of f32",
     [](RunConfig& c) {
       put_on_wire(c, Wire::bf16);
       c.shape.dtype = DType::f32;
     }},
    {"wire fp8+scales of f32 in waves",
     [](RunConfig& c) {
       put_on_wire(c, Wire::fp8_scales);
       c.shape.dtype = DType::f32, c.num_waves = c.spread == Spread::fused ? 3 : 0;
     }},
    {"wire fp8+scales, latent, placed with copies",
     [](RunConfig& c) {
       put_on_wire(c, Wire::fp8_scales);
       c.shape.form = parse_expert_form("silu,latent:17,latent-norm:1e-5");
       if (is_ep(c.spread))
         c.placement =
             greedy_placement({9, 1, 5, 2, 8, 1, 3}, c.num_devices, c.num_devices > 1 ? 4 : 0).expert;
     }},
    {"latent, placed with copies",
     [](RunConfig& c) {
       c.shape.form = parse_expert_form("silu,latent:17,latent-norm:1e-5");
       if (is_ep(c.spread))
         c.placement =
             greedy_placement({9, 1, 5, 2, 8, 1, 3}, c.num_devices, c.num_devices > 1 ? 4 : 0).expert;
     }},
};

// Experts of another width exist only on paths where rows travel.
bool is_built(const RunConfig& config) {
  return config.shape.form.latent == 0 || config.spread == Spread::none || routes_rows(config) ||
         config.spread == Spread::ring_ag_rs;
}

class WorkTest : public testing::TestWithParam<int> {
 protected:
  void expect_equal(RunConfig config, const Variant& variant) {
    variant.apply(config);
    const bool psum = !shards_tokens(config) && is_ep(config.spread);
    if ((config.shared_placement == SharedPlacement::replicated && !psum) || !is_built(config)) return;
    SCOPED_TRACE(std::string(name_of(config.spread)) + " " + variant.name);
    const auto run = factory_.make(config);
    run->step({});
    run->collect();
    const PlanCounts counts = plan_counts(config, run->placed_routing());
    WorkProblem problem = work_problem(over_places(config));
    problem.in_place = config.spread == Spread::fused && config.num_waves == 0 && config.wire == Wire::native;
    const std::vector<DeviceWork> work = all_work(problem, counts);
    const std::vector<Traffic> traffic = run->traffic();
    double flops = 0;
    for (size_t d = 0; d < work.size(); ++d) {
      EXPECT_EQ(work[d].sent_bytes(), static_cast<int64_t>(traffic[d].sent_bytes)) << "device " << d;
      EXPECT_EQ(work[d].received_bytes(), static_cast<int64_t>(traffic[d].received_bytes)) << "device " << d;
      flops += work[d].flops();
    }
    EXPECT_NEAR(flops, run->executed_flops(), 1e-9 * flops);
  }

  RunFactory factory_{{}, 5, {}};
};

TEST_P(WorkTest, BytesAndFlopsAreThoseOfTheRun) {
  for (const Variant& variant : kVariants) {
    RunConfig config{.shape = {37, 45, 27, 7, 3, 0, DType::bf16}};
    if (GetParam() == 1) expect_equal(config, variant);
    config.num_devices = GetParam();
    config.spread = Spread::dp;
    expect_equal(config, variant);
    for (const Spread path : kEpPaths) {
      config.spread = path;
      config.ranks_per_node = 0;
      expect_equal(config, variant);
      if (path != Spread::hierarchical) continue;
      config.ranks_per_node = 2;
      expect_equal(config, variant);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, WorkTest, testing::Values(1, 2, 3, 9));

TEST(Work, PairsAndLoadsOfASmallRouting) {
  // Four tokens on two devices, four experts of which device 0 has 0 and 1.
  const Routing routing{4, 4, 2, {0, 1, 1, 2, 3, 2, 0, 3}, std::vector<float>(8, 0.5f)};
  const PlanCounts counts = count_plan(routing, {}, 2);
  EXPECT_EQ(counts.kept, (std::vector<int64_t>{2, 2, 2, 2}));
  EXPECT_EQ(counts.pairs, (std::vector<int64_t>{2, 1, 1, 2}));
  const PlanCounts dropped = count_plan(routing, {CapacityPolicy::drop, 0.5}, 2);  // C = 1
  EXPECT_EQ(dropped.kept, (std::vector<int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(dropped.pairs, (std::vector<int64_t>{1, 1, 0, 1}));
}

}  // namespace
}  // namespace moehill

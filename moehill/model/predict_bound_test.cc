// Tests that no prediction is below the roofline, for shapes, distributions, devices and hardware that are
// drawn at random.
#include <gtest/gtest.h>

#include <random>

#include "moehill/model/roofline.h"

namespace moehill {
namespace {

class Dice {
 public:
  explicit Dice(uint32_t seed) : generator_(seed) {}
  int64_t upto(int64_t n) { return std::uniform_int_distribution<int64_t>(1, n)(generator_); }
  bool coin() { return upto(2) == 1; }
  // Values go from the lowest to the highest, evenly in their logarithms.
  double between(double lowest, double highest) {
    return lowest * std::pow(highest / lowest, std::uniform_real_distribution<double>(0, 1)(generator_));
  }

 private:
  std::mt19937 generator_;
};

Routing drawn_routing(Dice& dice) {
  const int experts = static_cast<int>(dice.upto(40)),
            topk = static_cast<int>(dice.upto(std::min(experts, 4)));
  const bool hot = dice.upto(4) == 1;  // most choices fall on few experts
  Routing routing{static_cast<int64_t>(dice.between(1, 3000)), experts, topk, {}, {}};
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    const int64_t first = hot && dice.upto(8) > 1 ? 0 : dice.upto(experts) - 1;
    for (int j = 0; j < topk; ++j) routing.expert.push_back(static_cast<int32_t>((first + j) % experts));
  }
  routing.weight.assign(routing.expert.size(), 1);
  return routing;
}

WorkProblem drawn_problem(Dice& dice, int num_devices) {
  WorkProblem p;
  p.hidden = static_cast<int64_t>(dice.between(1, 4096));
  p.mlp_dim = static_cast<int64_t>(dice.between(1, 4096));
  p.shared_dim = dice.coin() ? 0 : static_cast<int64_t>(dice.between(1, 4096));
  p.dtype = dice.coin() ? DType::bf16 : DType::f32;
  p.spread = num_devices == 1 ? Spread::none : static_cast<Spread>(dice.upto(kNumWords<Spread> - 1));
  p.backward = dice.coin();
  p.fused_w13 = dice.upto(4) > 1;
  p.shared_fused = dice.coin();
  p.preweight = dice.coin();
  p.scatter = dice.upto(4) == 1;
  p.recompute = p.backward && dice.upto(4) == 1;
  p.dx_over_outputs = p.backward && dice.upto(4) == 1;
  p.packs_rows = dice.upto(4) == 1;
  p.splits_rows = p.fused_w13 && !p.scatter && !p.recompute && !p.packs_rows;
  p.num_waves = static_cast<int>(dice.upto(4));
  p.in_place = (p.spread == Spread::fused || p.spread == Spread::ring_ag_rs) && dice.upto(3) == 1;
  if (routes_rows(p.spread) && !p.in_place) p.wire = static_cast<Wire>(dice.upto(3) - 1);
  p.router_grad = p.backward && dice.coin();
  p.shared_replicated = p.shared_dim > 0 && dice.coin() &&
                        (p.spread == Spread::compact_psum || p.spread == Spread::dense_masked);
  if (p.spread != Spread::dp && !is_psum(p.spread) && dice.upto(3) == 1) {
    p.latent = static_cast<int64_t>(dice.between(1, 4096));
    p.latent_norm = dice.coin();
  }
  return p;
}

// Takes a shipped file. Half of the time it changes figures so that they contradict each other: products and
// collectives measured faster than the peaks and links beside them, and fixed times of zero.
Hardware drawn_hardware(Dice& dice) {
  static const std::vector<Hardware> shipped = {load_hardware("epyc-2-core"), load_hardware("epyc-cluster"),
                                                load_hardware("h100-node"), load_hardware("tpu-v5p")};
  Hardware h = shipped[static_cast<size_t>(dice.upto(4) - 1)];
  if (dice.coin()) return h;
  h.peak_f32 = dice.between(1e8, 1e15);
  h.peak_bf16 = dice.between(1e8, 1e15);
  h.memory_bytes_per_s = dice.between(1e7, 1e13);
  h.node_memory_bytes_per_s = h.memory_bytes_per_s * dice.between(1, 100);
  for (double* rate : {&h.rows.gather, &h.rows.combine, &h.rows.swiglu, &h.rows.zero})
    *rate = dice.coin() ? 0 : dice.between(1e7, 1e14);
  for (double* seconds : {&h.barrier_s, &h.start_s, &h.stage_s, &h.plan_s_per_assignment})
    *seconds = dice.coin() ? 0 : dice.between(1e-9, 1e-3);
  h.topology.devices_per_node = static_cast<int>(dice.upto(8));
  for (LinkLevel& level : h.topology.levels) {
    level.latency_s = dice.coin() ? 0 : dice.between(1e-7, 1e-3);
    level.bytes_per_s = dice.between(1e6, 1e12);
  }
  if (dice.coin()) h.collectives.clear();
  for (CollectiveCurve& curve : h.collectives) curve.devices = static_cast<int>(dice.upto(8));
  return h;
}

TEST(Predict, IsNeverBelowTheRoofline) {
  int num_flying = 0, num_bound = 0;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    Dice dice(seed);
    const int num_devices = static_cast<int>(dice.upto(12)), units = static_cast<int>(dice.upto(16));
    const Hardware h = drawn_hardware(dice);
    const WorkProblem problem = drawn_problem(dice, num_devices);
    const PlanCounts counts = count_plan(drawn_routing(dice), {}, num_devices,
                                         Nodes::of_size(num_devices, h.topology.devices_per_node));
    const Prediction predicted = predict(problem, counts, h, units);
    const Roofline bound = roofline(problem, counts, h, units, {}, 0);
    ASSERT_GT(bound.total.bound_s, 0) << seed;
    ASSERT_GE(predicted.time_s, bound.total.bound_s * (1 - 1e-9))
        << "seed " << seed << ": " << name_of(problem.spread) << " on " << num_devices << " devices of "
        << h.name;
    num_flying += predicted.hidden_s > 0 ? 1 : 0;
    num_bound += predicted.time_s < 1.05 * bound.total.bound_s ? 1 : 0;
  }
  EXPECT_GT(num_flying,
            50);  // the cases have what they are for: rows in flight, and steps close to the bound
  EXPECT_GT(num_bound, 50);
}

// With few tokens on many experts, reading the weights takes all of the time.
TEST(Predict, OfFewTokensIsBoundByMemory) {
  const Hardware h = load_hardware("epyc-cluster");
  for (const int64_t tokens : {1, 8, 64}) {
    Routing routing{tokens, 60, 4, {}, {}};
    for (int64_t i = 0; i < tokens * 4; ++i) routing.expert.push_back(static_cast<int32_t>(i % 60));
    routing.weight.assign(routing.expert.size(), 1);
    WorkProblem problem;
    problem.hidden = 2048;
    problem.mlp_dim = 1408;
    problem.shared_dim = 5632;
    problem.backward = false;
    const PlanCounts counts = count_plan(routing, {}, 1);
    for (const StagePrediction& stage : predict(problem, counts, h, h.units_per_device).stages) {
      const double memory = memory_rate(h, h.units_per_device) * h.units_per_device;
      EXPECT_GE(stage.seconds(), stage.memory_bytes / memory * (1 - 1e-9))
          << tokens << " " << name_of(stage.stage);
    }
  }
}

}  // namespace
}  // namespace moehill

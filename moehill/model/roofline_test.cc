// Tests of the roofline: against the logbook's inputs and its four rows, against bounds of work made by hand,
// and against the parts of the prediction.
#include "moehill/model/roofline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace moehill {
namespace {

constexpr double kMiB = 1 << 20;

TEST(LogbookCommunication, ReproducesTheLogbooksInputs) {
  const LogbookCommunication c = logbook_communication(32768, 2048, DType::bf16, 4, true);
  EXPECT_EQ(c.tensor_bytes, 128 * kMiB);
  EXPECT_EQ(c.all_reduce_bytes, 192 * kMiB);
  EXPECT_EQ(c.step_bytes, 384 * kMiB);
  const double rows[4][2] = {{0.050523, 8.0}, {0.154982, 2.6}, {0.070874, 5.7}, {0.175233, 2.3}};
  for (const auto& [time_s, gbps] : rows) {
    EXPECT_EQ(std::round(c.implied_bytes_per_s(time_s) / 1e8) / 10, gbps) << time_s;
  }
}

// The logbook divides by the time of the whole step. At the links' bandwidth its bytes take 1.3 % of its
// fastest step.
TEST(LogbookCommunication, LinksOfTheHardwareAreNotWhatBindsIt) {
  const Hardware h = load_hardware("tpu-v5p");
  const LogbookCommunication c = logbook_communication(32768, 2048, DType::bf16, 4, true);
  const double link_s = c.step_bytes / h.topology.levels[0].bytes_per_s;
  EXPECT_NEAR(link_s / 0.050523, 0.0133, 0.0001);
}

Routing one_expert_each(int64_t tokens, int experts) {
  Routing routing{tokens, experts, 1, {}, {}};
  for (int64_t t = 0; t < tokens; ++t) routing.expert.push_back(static_cast<int32_t>(t % experts));
  routing.weight.assign(static_cast<size_t>(tokens), 1);
  return routing;
}

WorkProblem problem(Spread spread) {
  WorkProblem p;
  p.hidden = 512;
  p.mlp_dim = 256;
  p.spread = spread;
  return p;
}

Hardware machine() {
  Hardware h = load_hardware("epyc-cluster");
  h.stage_s = 0;
  return h;
}

TEST(Roofline, StagesAddUpToTheStep) {
  const PlanCounts counts = count_plan(one_expert_each(4096, 8), {}, 4);
  const Roofline r = roofline(problem(Spread::ragged_a2a), counts, machine(), 16, {{"up", 2.0}}, 3.0);
  double bound = 0, flops = 0;
  for (const StageBound& stage : r.stages) bound += stage.bound_s, flops += stage.flops;
  EXPECT_DOUBLE_EQ(r.total.bound_s, bound);
  EXPECT_DOUBLE_EQ(flops, 18.0 * 1024 * 512 * 256);
  EXPECT_DOUBLE_EQ(r.total.achieved(), bound / 3.0);
}

TEST(Roofline, SaysWhatBinds) {
  const auto bound = [](int64_t tokens, int experts, const char* stage) {
    const PlanCounts counts = count_plan(one_expert_each(tokens, experts), {}, 1);
    for (const StageBound& b : roofline(problem(Spread::none), counts, machine(), 16, {}, 0).stages) {
      if (b.stage == stage) return b.bound;
    }
    return Bound::overhead;
  };
  EXPECT_EQ(bound(8192, 1, "up"), Bound::compute);
  EXPECT_EQ(bound(8, 8, "up"), Bound::memory);  // one row for each matrix
  EXPECT_EQ(bound(8192, 1, "combine"), Bound::memory);
}

TEST(Roofline, OneDeviceWithAllTheWorkIsImbalance) {
  Routing routing = one_expert_each(4096, 8);
  std::fill(routing.expert.begin(), routing.expert.end(), 0);  // device 0 of 4 has all of it
  const PlanCounts counts = count_plan(routing, {}, 4);
  for (const StageBound& b : roofline(problem(Spread::compact_psum), counts, machine(), 16, {}, 0).stages) {
    if (b.stage == "up") {
      EXPECT_EQ(b.bound, Bound::imbalance);
    }
  }
}

TEST(Predict, EfficiencyIsInterpolatedBetweenMeasuredPoints) {
  Hardware h = machine();
  h.gemm = {{DType::bf16, 64, 64, {1, 100}, {{0.01, 1}, {0.01, 1}, {0.01, 1}}}};
  const auto fraction = [&](double rows) {
    return gemm_fraction(h, {DType::bf16, GemmDirection::forward, rows, 64, 64});
  };
  EXPECT_NEAR(fraction(10), 0.1, 1e-12);
  EXPECT_NEAR(fraction(0.5), 0.005, 1e-12);
  EXPECT_NEAR(fraction(1000), 1, 1e-12);
}

TEST(Predict, ASingleGroupHasACurveOfItsOwnWhereOneWasMeasured) {
  Hardware h = machine();
  const GemmCurve several{DType::bf16, 64, 64, {1}, {{0.5}, {0.5}, {0.5}}, 2};
  GemmCurve one{DType::bf16, 64, 64, {1}, {{0.25}, {0.25}, {0.25}}, 2};
  one.one_group = true;
  const auto fraction = [&](int units, bool one_group) {
    return gemm_fraction(h, {DType::bf16, GemmDirection::forward, 8, 64, 64, units, one_group});
  };
  h.gemm = {several};
  EXPECT_NEAR(fraction(2, true), 0.5, 1e-12);
  h.gemm = {several, one};
  EXPECT_NEAR(fraction(2, true), 0.25, 1e-12);
  EXPECT_NEAR(fraction(2, false), 0.5, 1e-12);
  GemmCurve thread = several;
  thread.units = 1;
  thread.fraction[0] = {0.75};
  h.gemm.push_back(thread);
  EXPECT_NEAR(fraction(1, true), 0.75, 1e-12);  // the units of one device come first
}

TEST(Predict, StagesAddUpToTheStepAndOneDeviceWaitsForNobody) {
  const PlanCounts counts = count_plan(one_expert_each(512, 8), {}, 1);
  const Prediction p = predict(problem(Spread::none), counts, machine(), 16);
  double sum = 0;
  for (const StagePrediction& stage : p.stages) {
    sum += stage.seconds();
    EXPECT_EQ(stage.wait_s, 0) << name_of(stage.stage);
    EXPECT_EQ(stage.link_s, 0) << name_of(stage.stage);
  }
  EXPECT_DOUBLE_EQ(p.time_s, sum);
}

TEST(Predict, AHotDeviceIsWaitedFor) {
  Routing hot = one_expert_each(4096, 8);
  std::fill(hot.expert.begin(), hot.expert.end(), 0);
  const double even =
      predict(problem(Spread::compact_psum), count_plan(one_expert_each(4096, 8), {}, 4), machine(), 16)
          .time_s;
  const double skewed = predict(problem(Spread::compact_psum), count_plan(hot, {}, 4), machine(), 16).time_s;
  EXPECT_GT(skewed, 1.5 * even);
}

// FUSED also sends one number with each row, the number of its token. Between nodes, only work that runs
// meanwhile hides a link.
TEST(Predict, FusedMovesWhatRaggedMovesAndHidesMoreOfIt) {
  const PlanCounts counts = count_plan(one_expert_each(8192, 16), {}, 16);
  const Prediction ragged = predict(problem(Spread::ragged_a2a), counts, machine(), 16);
  const Prediction fused = predict(problem(Spread::fused), counts, machine(), 16);
  const int64_t rows_between_devices = 8192 * 15 / 16;
  EXPECT_EQ(fused.sent_bytes, ragged.sent_bytes + rows_between_devices * 4);
  EXPECT_GT(fused.hidden_s, ragged.hidden_s);
  EXPECT_NEAR(fused.time_s + fused.hidden_s, ragged.time_s + ragged.hidden_s, 1e-2 * ragged.time_s);
  const auto stage = [&](Stage name) {
    return *std::find_if(fused.stages.begin(), fused.stages.end(),
                         [&](const StagePrediction& s) { return s.stage == name; });
  };
  EXPECT_DOUBLE_EQ(stage(Stage::dispatch).hidden_s,
                   std::min(stage(Stage::dispatch).link_s,
                            stage(Stage::up).gemm_s / 16));  // a 16th of the rows are own ones
  EXPECT_LE(stage(Stage::reduce_grad).hidden_s, stage(Stage::w2_grad).gemm_s + stage(Stage::w13_grad).gemm_s);
  EXPECT_EQ(stage(Stage::plan).hidden_s, 0);
}

// Rows in two forms are bound by the network only if the narrow rows that leave a node take longer than all
// rows on a device's own link.
TEST(Predict, RowsOfTwoFormsAreOnTheSlowerOfTheirLinks) {
  Hardware h = machine();
  h.topology.levels[0].bytes_per_s = h.topology.levels[1].bytes_per_s = 1e9;
  LinkWork link{.op = Collective::all_to_all, .sent_bytes = 4'000'000, .received_bytes = 4'000'000};
  link.row_bytes = link.network_row_bytes = 4096;
  EXPECT_TRUE(is_on_network(h, link, 16));
  link.network_row_bytes = 1024;
  link.network_sent_bytes = link.network_received_bytes = 400'000;  // times eight devices of a node
  EXPECT_FALSE(is_on_network(h, link, 16));
  link.network_sent_bytes = 600'000;
  EXPECT_TRUE(is_on_network(h, link, 16));
}

TEST(Predict, BytesBetweenNodesAreCountedOrAShareOfAll) {
  const Hardware h = machine();  // eight devices a node
  LinkWork link{.op = Collective::all_to_all, .sent_bytes = 1500, .received_bytes = 1500};
  EXPECT_EQ(network_sent_bytes(h, link, 8), 0);
  EXPECT_DOUBLE_EQ(network_sent_bytes(h, link, 16), 800);  // to 8 of 15 others
  link.network_row_bytes = 10;
  link.network_sent_bytes = 70;
  EXPECT_EQ(network_sent_bytes(h, link, 16), 70);
  link.in_place = true;
  EXPECT_EQ(network_sent_bytes(h, link, 16), 0);
  const LinkWork sum{.op = Collective::all_reduce, .sent_bytes = 1600, .received_bytes = 1600};
  EXPECT_DOUBLE_EQ(network_sent_bytes(h, sum, 16), 200);
}

// Copies are made by the devices' own cores.
TEST(Predict, NothingIsHiddenWithinANode) {
  const PlanCounts counts = count_plan(one_expert_each(8192, 8), {}, 4);
  EXPECT_EQ(predict(problem(Spread::fused), counts, machine(), 16).hidden_s, 0);
  WorkProblem in_place = problem(Spread::fused);
  in_place.in_place = true;
  EXPECT_EQ(predict(in_place, counts, machine(), 16).hidden_s, 0);
}

}  // namespace
}  // namespace moehill

// Tests of the predicted seconds of a run: by the model if there is hardware for it, else from a measured
// peak.
#include "moehill/predict/sweep_prediction.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

Point small_point() {
  Point point;
  point.config.shape = {256, 256, 128, 8, 2, 0, DType::bf16};
  return point;
}

constexpr MachineSpeed kSpeed{1e11, 2e10};

TEST(RunPredictor, TakesTheMeasuredPeakWithoutAProbe) {
  RunPredictor predictor({std::nullopt, "nobody measured"}, kSpeed);
  EXPECT_NE(predictor.source().find("nobody measured"), std::string::npos);
  BenchOptions options;
  const Point point = small_point();
  options.schedule.iters = 1;
  const double few = predictor.run_seconds(options, {point}).first;
  options.schedule.iters = 11;
  EXPECT_NEAR(predictor.run_seconds(options, {point}).first - few, 10 * estimate_step_seconds(point, kSpeed),
              1e-9);
  options.schedule.min_time = 100;
  EXPECT_EQ(predictor.run_seconds(options, {point, point}).first, 200);
}

TEST(RunPredictor, ARunWhoseResultsAreKnownHasNoCheck) {
  RunPredictor predictor({std::nullopt, ""}, kSpeed);
  BenchOptions options;
  Point point = small_point();
  point.config.shape.experts = 8000;  // 1.6 GB
  const double first = predictor.run_seconds(options, {point}).first,
               later = predictor.run_seconds(options, {point}).repeat;
  EXPECT_LT(later, first - 1.6);
  EXPECT_GT(later, predictor.run_seconds(options, {small_point()}).repeat);
  options.schedule.min_time = 1e4;
  EXPECT_EQ(predictor.run_seconds(options, {point}).repeat, 1e4) << "the steps last as long as before";
}

TEST(RunPredictor, TakesTheModelWhereThereIsHardware) {
  const Hardware hardware = load_hardware("epyc-2-core");
  RunPredictor predictor({hardware, ""}, kSpeed);
  EXPECT_NE(predictor.source().find("by the model"), std::string::npos);
  BenchOptions options;
  const Point point = small_point();
  options.schedule.iters = 1;
  const double few = predictor.run_seconds(options, {point}).first;
  options.schedule.iters = 2;
  const Routing routing = routing_of(point.config.shape, point.distribution, 0);
  const double step = predict_run(point.config, routing, hardware).time_s;
  EXPECT_NEAR(predictor.run_seconds(options, {point}).first - few, step, 1e-9);
}

TEST(RunPredictor, TakesTheBestPathWhereNoneIsGiven) {
  const Hardware hardware = load_hardware("epyc-2-core");
  RunPredictor predictor({hardware, ""}, kSpeed);
  Point masked = small_point();
  masked.config.spread = Spread::dense_masked;
  masked.config.num_devices = 2;
  Point any = masked;
  any.path_is_auto = true;
  EXPECT_LT(predictor.run_seconds({}, {any}).first, predictor.run_seconds({}, {masked}).first);
}

// Threads of one process read rows in place, so a step can take less than a bound that copies rows.
TEST(RunPredictor, TheBoundOfThreadsIsThatOfRowsReadInPlace) {
  RunPredictor predictor({load_hardware("epyc-2-core"), ""}, kSpeed);
  BenchOptions threads, processes;
  processes.mesh = MeshKind::mpi;
  Point point;
  point.config.shape = {2048, 1024, 64, 8, 2, 0, DType::bf16};
  point.config.num_devices = 2;
  for (const Spread path : {Spread::fused, Spread::ring_ag_rs}) {
    point.config.spread = path;
    const auto in_place = predictor.step(threads, point), copied = predictor.step(processes, point);
    ASSERT_TRUE(in_place && copied);
    EXPECT_LT(in_place->bound_seconds, copied->bound_seconds) << name_of(path);
    EXPECT_LE(in_place->bound_seconds, in_place->seconds) << name_of(path);
    EXPECT_LE(copied->bound_seconds, copied->seconds) << name_of(path);
  }
}

// A probe of a job with one process a node has the network between any two devices, which threads do not use.
TEST(RunPredictor, ThreadsAreNotPredictedOverTheNetwork) {
  Hardware hardware = load_hardware("epyc-cluster");
  hardware.topology.devices_per_node = 1;
  RunPredictor predictor({hardware, ""}, kSpeed);
  Point point = small_point();
  point.config.spread = Spread::ragged_a2a;
  point.config.num_devices = 2;
  BenchOptions processes;
  processes.mesh = MeshKind::mpi;
  EXPECT_FALSE(predictor.step({}, point).has_value());
  EXPECT_TRUE(predictor.step(processes, point).has_value());
  point.config.spread = Spread::none;
  point.config.num_devices = 1;
  EXPECT_TRUE(predictor.step({}, point).has_value());
}

TEST(RunPredictor, FallsBackWhereTheModelHasNothingToSay) {
  RunPredictor by_model({load_hardware("epyc-2-core"), ""}, kSpeed), by_peak({std::nullopt, ""}, kSpeed);
  Point point = small_point();
  point.config.block.backend = Backend::ragged_dot;
  EXPECT_EQ(by_model.run_seconds({}, {point}).first, by_peak.run_seconds({}, {point}).first);
}

}  // namespace
}  // namespace moehill

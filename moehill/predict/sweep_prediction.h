// Sweep prediction tells how many seconds a run of a point takes. It uses the model if a probe of this
// machine has what the model needs, otherwise the measured peak. It serves budgets and orders; results never
// use it.
//
//     RunPredictor predictor(probed_hardware(environment), measure_speed(topology, num_threads));
//     predictor.run_seconds(options, points).first;   // from the start of `moehill bench` to its end
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moehill/measure/auto_tokens.h"
#include "moehill/predict/prediction.h"

namespace moehill {

// Measures the FLOP/s of f32 multiply-adds and the B/s of `num_threads` threads of this process. It takes
// about a second.
MachineSpeed measure_speed(const Topology& topology, int num_threads);

// RunPredictor keeps the last routing, since many points share one.
class RunPredictor {
 public:
  RunPredictor(ProbedHardware probed, const MachineSpeed& speed)
      : probed_(std::move(probed)), speed_(speed) {}

  // RunSeconds are from the start of `moehill bench` to its end: the steps, and before them the making of
  // random operands of this size and the check. `repeat` is for a run whose results equal, bit for bit,
  // earlier results that were checked (bench --checked).
  struct RunSeconds {
    double first = 0, repeat = 0;
  };
  // A point whose path is auto takes the best path.
  RunSeconds run_seconds(const BenchOptions& options, const std::vector<Point>& points);

  // Step is one step by the model, and at the bound of its roofline. step() returns nothing if the model does
  // not cover the point.
  struct Step {
    double seconds = 0, bound_seconds = 0;
  };
  std::optional<Step> step(const BenchOptions& options, const Point& point);

  // Says whether predictions come from the model or from the peak, and why.
  std::string source() const;

 private:
  // True if the model covers the point. Where the processes of a job will be is not known yet; threads of one
  // process are on one node.
  bool covers(const BenchOptions& options, const Point& point) const;
  double step_seconds(const BenchOptions& options, const Point& point);
  const Routing& routing(const Point& point, uint32_t seed);

  ProbedHardware probed_;
  MachineSpeed speed_;
  // The last routing. Points of an experiment often share theirs, and a large one takes 0.1 s.
  std::optional<Routing> routing_;
  std::pair<MoeShape, DistributionOptions> routed_;
  uint32_t seed_ = 0;
};

}  // namespace moehill

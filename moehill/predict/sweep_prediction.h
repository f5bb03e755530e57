// Sweep prediction: seconds that a run of a point takes, by the model where a probe of this machine has what
// it needs, else from the measured peak.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moehill/measure/auto_tokens.h"
#include "moehill/predict/prediction.h"

namespace moehill {

// FLOP/s by f32's multiply-adds and B/s of so many threads of this process, measured now; about a second.
MachineSpeed measure_speed(const Topology& topology, int num_threads);

class RunPredictor {
 public:
  RunPredictor(ProbedHardware probed, const MachineSpeed& speed)
      : probed_(std::move(probed)), speed_(speed) {}

  // Seconds from the start of `moehill bench` to its end: the steps, and what happens before them: random
  // operands of this size and the double-precision check. A point of ep without a path in `options` takes the
  // best.
  double run_seconds(const BenchOptions& options, const std::vector<Point>& points);

  // One step by the model, and at the bound of its roofline; none where it does not cover the point.
  struct Step {
    double seconds = 0, bound_seconds = 0;
  };
  std::optional<Step> step(const BenchOptions& options, const Point& point);

  // Says whether predictions come from the model or the peak, and why.
  std::string source() const;

 private:
  double step_seconds(const BenchOptions& options, const Point& point);
  const Routing& routing(const Point& point, uint32_t seed);

  ProbedHardware probed_;
  MachineSpeed speed_;
  // The last one: points of an experiment often share theirs, and a large one takes 0.1 s.
  std::optional<Routing> routing_;
  std::pair<MoeShape, DistributionOptions> routed_;
  uint32_t seed_ = 0;
};

}  // namespace moehill

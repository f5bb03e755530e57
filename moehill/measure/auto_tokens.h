// --tokens auto: as many tokens as let the whole command end in two minutes, by the measured peak.
#pragma once

#include <functional>

#include "moehill/measure/points.h"

namespace moehill {

// The time of a point besides its rounds, in steps: the checked step, the one on other tokens, and a check of
// each, which takes one and a half steps at many tokens.
inline constexpr int64_t kUntimedSteps = 5;

// The speed of all the cores together: FLOP/s and B/s.
struct MachineSpeed {
  double flops, bytes_per_s;
};

// Estimates one step at 60 % of the peak, with four sweeps over the weights.
double estimate_step_seconds(const Point& point, const MachineSpeed& speed);

// Seconds that checking and timing `points` may take, with margin.
double estimate_seconds(const std::vector<Point>& points, int64_t num_rounds, const MachineSpeed& speed);

// The largest power of two from 256 to 8192 for which points_of(tokens) is estimated below 90 s and fits the
// memory; at least 256.
int64_t choose_tokens(const std::function<std::vector<Point>(int64_t tokens)>& points_of, int64_t num_rounds,
                      const MachineSpeed& speed, double usable_bytes);

}  // namespace moehill

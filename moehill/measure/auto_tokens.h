// This header chooses the tokens for --tokens auto: as many as let the whole command end in two minutes,
// judged by the measured peak. The estimate is rough and serves only this choice; predictions are in the room
// predict.
//
//     options.shape.tokens = choose_tokens(points_of, num_rounds, {flops, bytes_per_s}, usable_bytes);
#pragma once

#include <functional>

#include "moehill/measure/points.h"

namespace moehill {

// A point takes this many steps besides its rounds: the checked step, the step on other tokens, and a check
// of each, which costs one and a half steps if there are many tokens.
inline constexpr int64_t kUntimedSteps = 5;

// MachineSpeed is the speed of all cores together: FLOP/s and B/s.
struct MachineSpeed {
  double flops, bytes_per_s;
};

// Estimates the seconds of one step at 60 % of the peak, with four passes over the weights.
double estimate_step_seconds(const Point& point, const MachineSpeed& speed);

// Returns the seconds that checking and timing `points` may take, with a margin.
double estimate_seconds(const std::vector<Point>& points, int64_t num_rounds, const MachineSpeed& speed);

// Returns the largest power of two from 256 to 8192 for which points_of(tokens) is estimated below 90 s and
// fits into `usable_bytes`; 256 if none does.
int64_t choose_tokens(const std::function<std::vector<Point>(int64_t tokens)>& points_of, int64_t num_rounds,
                      const MachineSpeed& speed, double usable_bytes);

}  // namespace moehill

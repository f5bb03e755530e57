// Overlap tells how much of a step's communication its computation hides. It is computed from steps with only
// one of the two, which are measured beside the whole step (docs/metrics.md).
//
//     const Overlap overlap = overlap_of(computation_s, communication_s, step_s);   // by round
//     overlap.hidden.median;   // 1: the smaller of the two is hidden completely; 0: nothing is
#pragma once

#include <span>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/measure/points.h"

namespace moehill {

// Overlap holds medians in seconds. In each round, `hidden` is
// (computation + communication - both) / min(computation, communication).
struct Overlap {
  double computation = 0, communication = 0, both = 0;
  Summary hidden;
};
// The three series are of the same rounds, at least one.
Overlap overlap_of(std::span<const double> computation, std::span<const double> communication,
                   std::span<const double> both);

// Puts two more points behind each point of several devices: its computation alone and its communication
// alone.
std::vector<Point> with_parts(const std::vector<Point>& points);

std::string overlap_line(const std::string& label, const Overlap& overlap);

}  // namespace moehill

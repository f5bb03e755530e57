// Overlap: how much of a step's communication its computation hides, from steps of each alone beside the
// whole (docs/metrics.md).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/measure/points.h"

namespace moehill {

// Medians in seconds, and (computation + communication - both) / min(computation, communication) by rounds.
struct Overlap {
  double computation = 0, communication = 0, both = 0;
  Summary hidden;
};
// Takes series of the same rounds, of one at least.
Overlap overlap_of(std::span<const double> computation, std::span<const double> communication,
                   std::span<const double> both);

// Puts behind each point of several devices the two parts of it alone.
std::vector<Point> with_parts(const std::vector<Point>& points);

std::string overlap_line(const std::string& label, const Overlap& overlap);

}  // namespace moehill

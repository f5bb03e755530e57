// Ablation arms: beside a point the same point with stages left out, in the same rounds. The time that an arm
// saves is what these stages cost the whole step, whatever else they overlap with or make slower; their own
// clock says how long they are, which is not the same (docs/metrics.md).
//
// An arm has no results and is never checked. It stays beside its point (PointResult::arms), so that no
// table of results has it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/measure/results.h"

namespace moehill {

// Puts behind each point an arm for each ablation that its step has work in. Throws InputError for one that
// no point has work in.
std::vector<Point> with_ablations(const std::vector<Point>& points, const std::vector<Ablation>& ablations);

// Takes the arms out of the points, each to the point that it stands behind.
void take_ablations(CommandResult& command);

struct Saving {
  Summary seconds;              // whole less arm, by rounds
  std::optional<double> clock;  // of the stages, where they were timed
  double share = 0;             // of the whole step's median
};
// Nothing where one of the two was not timed.
std::optional<Saving> saving_of(const PointResult& whole, const PointResult& arm);

// A table for each point that has arms; empty without any.
std::string ablation_tables(const CommandResult& command);

}  // namespace moehill

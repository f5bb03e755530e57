// An ablation arm is the same point with stages left out, timed in the same rounds. The time that the arm
// saves is what these stages cost the whole step, whatever they overlap with or slow down. The stages' own
// clock says how long they last, which is not the same (docs/metrics.md).
// An arm has no results and is never checked. It stays beside its point (PointResult::arms), so that no table
// of results contains it.
//
//     const std::vector<Point> points = with_ablations(expand_points(options, num_cores), options.ablations);
//     ... measure them ...
//     take_ablations(command);
//     fmt::print("{}", ablation_tables(command));
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/measure/results.h"

namespace moehill {

// Puts arms behind each point, one for each ablation of stages that its step has. Throws InputError for an
// ablation of stages that no point has.
std::vector<Point> with_ablations(const std::vector<Point>& points, const std::vector<Ablation>& ablations);

// Moves each arm from the list of points into the point before it.
void take_ablations(CommandResult& command);

// Saving is the time that a step saves when stages are left out.
struct Saving {
  Summary seconds;              // time of the whole step minus the arm's time, by round
  std::optional<double> clock;  // the time of the stages themselves, if it was measured
  double share = 0;             // share of the whole step's median
};
// Returns nothing if one of the two was not timed.
std::optional<Saving> saving_of(const PointResult& whole, const PointResult& arm);

// Returns a table for each point that has arms, or an empty text if none has.
std::string ablation_tables(const CommandResult& command);

}  // namespace moehill

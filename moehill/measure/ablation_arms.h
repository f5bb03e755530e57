// Ablation arms: an arm is the same point with stages left out, timed in the same rounds. The time that an
// arm saves is what these stages cost the whole step, whatever else they overlap with or make slower; their
// own clock says how long they are, which is not the same (docs/metrics.md).
//
// An arm has no results and is never checked. It stays beside its point (PointResult::arms), so that no
// table of results has it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/measure/results.h"

namespace moehill {

// Puts arms behind each point: one for each ablation of stages that its step has. Throws InputError for an
// ablation of stages that no point has.
std::vector<Point> with_ablations(const std::vector<Point>& points, const std::vector<Ablation>& ablations);

// Moves each arm from the list of points into the point before it.
void take_ablations(CommandResult& command);

struct Saving {
  Summary seconds;              // time of the whole step less that of the arm, by rounds
  std::optional<double> clock;  // time of the stages themselves, where it was measured
  double share = 0;             // of the whole step's median
};
// Returns nothing if one of the two was not timed.
std::optional<Saving> saving_of(const PointResult& whole, const PointResult& arm);

// Returns a table for each point that has arms, or an empty text if none has.
std::string ablation_tables(const CommandResult& command);

}  // namespace moehill

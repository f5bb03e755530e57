// This header makes the report of a climb for a terminal: what would be tried, and what came of it. The
// logbook shows the same moves as experiments.
//
//     fmt::print("{}", climb_text(climber.run(store, show), options));
#pragma once

#include <string>
#include <vector>

#include "moehill/climb/climber.h"

namespace moehill {

// Returns the moves that a climb would begin with, their arms with predicted times, what is left out, and how
// much of each arm a run takes.
std::string plan_text(const std::vector<ClimbMove>& moves, const std::string& source);

// Returns one table with a line for each move: what it changed, its gain with the interval, the product so
// far, the share of the measured peak and of the roofline's bound. Then the total in rounds of its own, what
// speaks against keeping the winner, why the climb ended, and the winner's command line.
std::string climb_text(const ClimbOutcome& outcome, const ClimbOptions& options);

// Returns the command that runs the winner, without the options that say how often to measure.
std::string winner_line(const ClimbOutcome& outcome);

}  // namespace moehill

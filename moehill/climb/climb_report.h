// The report of a climb for a terminal: what would be tried, and what came of it.
#pragma once

#include <string>
#include <vector>

#include "moehill/climb/climber.h"

namespace moehill {

// The moves that a climb would begin with, their arms with predicted time, and what is left out.
std::string plan_text(const std::vector<ClimbMove>& moves, const std::string& source);

// One table: a move a line, what it changed, its gain with the interval, the product so far, the share of the
// measured peak and of the bound by roofline; then the total in rounds of its own, why the climb ended, and
// the winner's command line.
std::string climb_text(const ClimbOutcome& outcome, const ClimbOptions& options);

// The winner as options of bench, without how often was measured.
std::string winner_line(const ClimbOutcome& outcome);

}  // namespace moehill

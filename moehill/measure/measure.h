// This header measures a whole command: its yardsticks, its points, the yardsticks again, and what other work
// the machine had meanwhile. measure/points.h makes the points, and measure/measurement.h times the steps of
// the points.
//
//     Yardstick yardstick(cpus, job);
//     const CommandResult command = measure(options, points, job, yardstick, watcher);
//     command.points[0].samples;   // seconds by round; empty if the check failed
#pragma once

#include "moehill/measure/measurement.h"

namespace moehill {

// Measures the points. A point whose figures are impossible for a machine with these yardsticks fails. Only
// the job's root tells the watcher, and clears the watcher's line of progress at the end. All processes have
// to call this function.
CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick, const Watcher& watcher);

}  // namespace moehill

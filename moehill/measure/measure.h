// Measures a whole command: its yardsticks, its points, the yardsticks again, and what other work the machine
// had meanwhile. The points are made by measure/points.h, and one point's steps are timed by
// measure/measurement.h.
//
//     Yardstick yardstick(cpus, job);
//     const CommandResult command = measure(options, points, job, yardstick, watcher);
//     command.points[0].samples;   // seconds by round; empty if the check failed
#pragma once

#include "moehill/measure/measurement.h"

namespace moehill {

// Measures the points, and fails those whose figures no machine with these yardsticks can have. Only the
// job's root tells the watcher, whose line of progress is cleared at the end. All processes have to call
// this.
CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick, const Watcher& watcher);

}  // namespace moehill

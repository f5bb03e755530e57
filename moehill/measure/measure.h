// The measurement of a whole command: its yardsticks, its points, the yardsticks again, and what other work
// the machine had meanwhile.
#pragma once

#include "moehill/measure/measurement.h"

namespace moehill {

// Fails the points whose figures no machine with these yardsticks can have. The job's root alone tells the
// watcher, whose line of progress is clear at the end. Collective.
CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick, const Watcher& watcher);

}  // namespace moehill

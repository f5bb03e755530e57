// The measurement of a whole command: its yardsticks, its points, the yardsticks again, and what other work
// the machine had meanwhile.
#pragma once

#include "moehill/measure/measurement.h"

namespace moehill {

// Measures the points, and fails those whose figures no machine with these yardsticks can have. Only the
// job's root tells the watcher; its line of progress is cleared at the end. All processes must call this.
CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick, const Watcher& watcher);

}  // namespace moehill

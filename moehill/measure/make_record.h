// Records of what was measured.
#pragma once

#include <vector>

#include "moehill/measure/results.h"
#include "moehill/record/record.h"

namespace moehill {

// One record for each point, then one for each arm of a point, marked `ablated`. The ep point of a pair also
// carries its comparison.
std::vector<Record> make_records(const BenchOptions& options, const CommandResult& command);
// The record of one point, without a comparison.
Record make_record(const BenchOptions& options, const CommandResult& command, size_t index);

// Two parts of it: every option of a point, resolved; the machine and the build.
RecordedConfig recorded_config(const BenchOptions& options, const Point& point);
RecordedEnvironment recorded_environment(const Environment& environment);

}  // namespace moehill

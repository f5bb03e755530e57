// This header makes the records of what was measured. A record (record/record.h) is all that later commands
// see of a run.
//
//     for (const Record& record : make_records(options, command)) file << record_line(record);
#pragma once

#include <vector>

#include "moehill/measure/results.h"
#include "moehill/record/record.h"

namespace moehill {

// Returns one record for each point, then one for each arm of a point, which is marked `ablated`. The ep
// point of a pair also carries its comparison.
std::vector<Record> make_records(const BenchOptions& options, const CommandResult& command);
// Returns the record of one point, without a comparison.
Record make_record(const BenchOptions& options, const CommandResult& command, size_t index);

// These make two parts of a record: every option of a point, resolved; and the machine with the build.
RecordedConfig recorded_config(const BenchOptions& options, const Point& point);
RecordedEnvironment recorded_environment(const Environment& environment);

}  // namespace moehill

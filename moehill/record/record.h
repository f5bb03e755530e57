// Records: a point's result as one JSON object of schema `moehill/1`.
#pragma once

#include "moehill/base/json_fields.h"
#include "moehill/measure/results.h"

namespace moehill {

// What does not exist (no check passed, not timed, not measured) is null, never NaN.
nlohmann::ordered_json make_record(const BenchOptions& options, const CommandResult& result, size_t index);

// Two parts of it: every option of a point, resolved; the machine and the build.
nlohmann::ordered_json config_json(const BenchOptions& options, const Point& point);
nlohmann::ordered_json environment_record(const Environment& environment);

// All records, one a line; the ep of a pair also carries its `comparison`.
std::string record_lines(const BenchOptions& options, const CommandResult& result);

}  // namespace moehill

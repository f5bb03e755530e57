// Report of `moehill mesh`: the table with its header and closing lines, and the records.
#pragma once

#include <nlohmann/json.hpp>

#include "moehill/base/streamed_table.h"
#include "moehill/collectives/mesh_measurement.h"
#include "moehill/quiet/environment.h"

namespace moehill {

std::string mesh_header(const MeshOptions& options, int num_devices, int threads_per_device);
// The table, each row of which is printed as soon as it is measured. beside_library: it has columns for the
// library's own collectives.
StreamedTable mesh_table(const MeshOptions& options, bool beside_library);
std::vector<std::string> mesh_row(const CollectiveResult& result, double copy_bytes_per_s);

// Returns the copy bandwidth, then a line for each collective, then what failed. A line has the bus
// bandwidth, which is the mean over the sizes as in nccl-tests, and its ratio to the copy bandwidth; `-` if a
// size has none.
std::string mesh_closing(const MeshResult& result);

// One JSON object a line of the table, schema `moehill/1`.
std::string mesh_records(const MeshOptions& options, const MeshResult& result, const Environment& environment,
                         const std::string& time_utc);

// Lines with a wrong element.
int64_t num_failed(const MeshResult& result);

}  // namespace moehill

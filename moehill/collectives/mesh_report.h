// This header makes the report of `moehill mesh`: the table with its header and closing lines, and the
// records. It measures nothing.
//
//     fmt::print("{}", mesh_header(options, num_devices, threads_per_device));
//     StreamedTable table = mesh_table(options, /*beside_library=*/false);
//     ... a mesh_row() for each line ...
//     fmt::print("{}", mesh_closing(result));
#pragma once

#include <nlohmann/json.hpp>

#include "moehill/base/streamed_table.h"
#include "moehill/collectives/mesh_measurement.h"
#include "moehill/quiet/environment.h"

namespace moehill {

// Returns the line above the table.
std::string mesh_header(const MeshOptions& options, int num_devices, int threads_per_device);
// Returns the table. The caller prints each row as soon as it is measured. `beside_library` adds columns for
// the MPI library's own collectives.
StreamedTable mesh_table(const MeshOptions& options, bool beside_library);
// Returns the cells of one row; "-" for a value that was not checked or not timed.
std::vector<std::string> mesh_row(const CollectiveResult& result, double copy_bytes_per_s);

// Returns the copy bandwidth, then a line for each collective, then the failures. A collective's line has its
// bus bandwidth, the mean over the sizes as in nccl-tests, and the ratio of that to the copy bandwidth; "-"
// if a size has no bandwidth.
std::string mesh_closing(const MeshResult& result);

// Returns one JSON object for each line of the table, schema `moehill/1`.
std::string mesh_records(const MeshOptions& options, const MeshResult& result, const Environment& environment,
                         const std::string& time_utc);

// Returns the number of lines with a wrong element.
int64_t num_failed(const MeshResult& result);

}  // namespace moehill

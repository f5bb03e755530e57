// This header measures the collectives of any mesh: it checks each size, then times it. It does not measure
// the collectives inside a step of the block; `bench` times those as stages.
//
//     const MeshResult result = measure_mesh(mesh, {.collectives = {Collective::all_to_all}});
//     result.collectives[0].bus_bandwidth();   // B/s at 8 bytes
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "moehill/collectives/mesh_options.h"
#include "moehill/mesh/mesh.h"
#include "moehill/parallel/memory_model.h"

namespace moehill {

// CollectiveResult is one line of the table.
struct CollectiveResult {
  Collective collective = Collective::all_reduce;
  DType dtype = DType::f32;
  int64_t n = 0;  // elements of the size
  int num_devices = 1;
  std::vector<double> samples{};  // seconds of each iteration on its slowest device; empty: not timed
  // Wrong elements on all devices, of each device's worst call; empty: not checked.
  std::optional<int64_t> num_wrong{};
  // Seconds of the MPI library's own collective, measured in turn with ours; empty: there is none.
  std::vector<double> library_samples = {};

  double bytes() const { return static_cast<double>(n) * static_cast<double>(dtype_bytes(dtype)); }
  // Only a size that was checked, had no wrong element and was timed has a bandwidth.
  bool trusted() const { return num_wrong == 0 && !samples.empty(); }
  // All three are in B/s, from the median time (docs/metrics.md).
  double algorithm_bandwidth() const;
  double bus_bandwidth() const;
  double memory_bandwidth() const;
};

// MeshResult is the whole table.
struct MeshResult {
  int num_devices = 1, threads_per_device = 1;
  double copy_bytes_per_s = 0;  // read and written by all devices at once
  std::vector<CollectiveResult> collectives;
};

// Every process of the mesh calls measure_mesh() with the same options and gets the same result. A size whose
// first call leaves a wrong element is not timed. Every later call of ours begins with NaN in its output,
// too, and if one leaves a wrong element, the size loses its samples. `library` makes the group of the MPI
// library's own collectives, if there is one. It is timed beside ours wherever library_has() is true.
using LibraryGroupMaker = std::function<std::unique_ptr<Group>(ThreadTeam&)>;
// Device 0 calls `measured` after each line, with the copy bandwidth as far as it is known then.
using LineMeasured = std::function<void(const CollectiveResult&, double copy_bytes_per_s)>;
// Every device calls `stop` after each line. If one returns true after a line, all devices end there. Either
// all processes give such a function, or none does.
using StopMeasuring = std::function<bool()>;
MeshResult measure_mesh(Mesh& mesh, const MeshOptions& options, const LibraryGroupMaker& library = {},
                        const LineMeasured& measured = {}, const StopMeasuring& stop = {});
// Both return the approximate cost of a line, or of all lines, for comparison with others: the bytes, and a
// constant for the call, which dominates if the bytes are few.
double cost_of(const CollectiveResult& line);
double cost_of(const MeshOptions& options);

// Returns true if the MPI library's own collective can take this size. It has no sums of bf16, and it counts
// in int. All devices get the same answer.
bool library_has(Collective collective, DType dtype, int64_t n, int num_devices);

// Predicts what measure_mesh() on `num_devices` devices allocates on a node that has `node_devices` of them.
std::vector<MemoryPart> predict_mesh_memory(const MeshOptions& options, int num_devices, int node_devices);

}  // namespace moehill

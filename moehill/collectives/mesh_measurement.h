// Measurement of a mesh's collectives: each size is checked, then timed, on any mesh.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "moehill/collectives/mesh_options.h"
#include "moehill/mesh/mesh.h"
#include "moehill/parallel/memory_model.h"

namespace moehill {

// One line of the table.
struct CollectiveResult {
  Collective collective = Collective::all_reduce;
  DType dtype = DType::f32;
  int64_t n = 0;  // elements of the size
  int num_devices = 1;
  std::vector<double> samples{};       // seconds of each iteration on its slowest device; empty: not timed
  std::optional<int64_t> num_wrong{};  // elements on all devices; empty: not checked
  std::vector<double> library_samples =
      {};  // of the library's own collective, in turn with ours; empty: none

  double bytes() const { return static_cast<double>(n) * static_cast<double>(dtype_bytes(dtype)); }
  // A size has a bandwidth only if it was checked, had no wrong element, and was timed.
  bool trusted() const { return num_wrong == 0 && !samples.empty(); }
  // B/s, by the median time (docs/metrics.md).
  double algorithm_bandwidth() const;
  double bus_bandwidth() const;
  double memory_bandwidth() const;
};

struct MeshResult {
  int num_devices = 1, threads_per_device = 1;
  double copy_bytes_per_s = 0;  // of all devices at once, read and written
  std::vector<CollectiveResult> collectives;
};

// Every process of the mesh calls this with the same options and gets the same result. A size whose first
// call leaves a wrong element is not timed; one whose last timed call does loses its samples.
// library: makes the group of the library's own collectives, where there is one; it is timed beside ours, but
// for sums in bf16, which it has not.
using LibraryGroupMaker = std::function<std::unique_ptr<Group>(ThreadTeam&)>;
// measured: device 0 calls it after each line, with the copy bandwidth as it is known then.
using LineMeasured = std::function<void(const CollectiveResult&, double copy_bytes_per_s)>;
MeshResult measure_mesh(Mesh& mesh, const MeshOptions& options, const LibraryGroupMaker& library = {},
                        const LineMeasured& measured = {});
// Return roughly what a line, or all lines, cost in comparison with others: the bytes, and a constant for the
// call, which is all that counts where the bytes are few.
double cost_of(const CollectiveResult& line);
double cost_of(const MeshOptions& options);

// Predicts what measure_mesh() allocates on all of `num_devices` devices.
std::vector<MemoryPart> predict_mesh_memory(const MeshOptions& options, int num_devices);

}  // namespace moehill

// Points are what one command line asks for, with every option resolved. Nothing is measured or allocated
// here.
//
//     adopt_job(job, options.mesh, options.devices, options.threads_per_device);
//     for (const Point& point : expand_points(options, num_cores)) fmt::print("{}\n", point.label);
#pragma once

#include <string>
#include <vector>

#include "moehill/measure/bench_options.h"
#include "moehill/mesh/job.h"

namespace moehill {

// Point is one combination of options.
struct Point {
  RunConfig config;
  DistributionOptions distribution;
  std::string label;   // what distinguishes it from the others: "topk=8 ep"
  std::string folder;  // the same as a file name, of this point alone: "topk-8_ep"
  ProfilePath path = ProfilePath::none;
  Tuned tuned = Tuned::off;
  std::vector<std::pair<std::string, std::string>> axes = {};  // of -L, which the label begins with
  bool path_is_auto = false;  // no --ep-path was given for this ep point, so the prediction chooses it
};

// Layout: P devices of N threads for ep, one device of `none_threads` for none. If neither P nor N is given,
// there is one thread on each core and a device for each thread. If one of them is given, the other fills the
// cores. `none` takes the same P * N threads, but at most one for each core.
struct Layout {
  int num_devices = 1, threads_per_device = 1, none_threads = 1;
};
Layout resolve_layout(const BenchOptions& options, int num_cores);

// Sets the mesh, devices and threads (0: not given) to what fits the job. Under a launcher each process has
// one device, with as many threads as every process has cores for. Otherwise devices are threads of this
// process. Throws InputError if what was given contradicts that.
void adopt_job(const Job& job, MeshKind& mesh, int64_t& devices, int64_t& threads_per_device);

// Returns the seconds of --timeout, and sets them as the limit of waits for other processes. Throws
// InputError if there are no others.
double take_timeout(const std::string& text);

// Sets the nodes of the job, or the nodes on which the devices of one process act as if they were. Throws
// InputError if these make no sense.
void adopt_nodes(const Job& job, BenchOptions& options);

// Returns the product of all lists. The axes from the slowest to the fastest are top-k, distribution, queue
// mode, impl and parallel mode, so a none and an ep that differ in nothing else are neighbours. -L comes
// before all of them, and --filter after. Without expert parallelism, points that differ in its options alone
// are one point. Throws InputError for k > E, for shapes whose products overflow, and if no point is left.
std::vector<Point> expand_points(const BenchOptions& options, int num_cores);

// Returns the options that a point was made from: those of its combination of the values of -L, or else all.
const BenchOptions& own_options(const BenchOptions& options, const Point& point);

// Throws InputError if k is above E.
void refuse_topk(int64_t topk, int64_t experts);

// The most elements of one tensor in the memory of this machine: 4 TiB of f32.
inline constexpr int64_t kMaxElements = int64_t{1} << 40;
// The most elements of one tensor on a cluster: the bytes that 4096 devices send of it fit in 64 bits.
inline constexpr int64_t kMaxClusterElements = int64_t{1} << 46;

// Throws InputError if a product of dimensions is more than indices and buffers can hold.
void refuse_overflow(const MoeShape& shape, const Capacity& capacity, int64_t max_elements = kMaxElements);

// Throws InputError for a capacity that this shape, path or routing cannot have.
void refuse_capacity(const RunConfig& config, const DistributionOptions& distribution);

// True if two points differ in nothing but the parallel mode, its layout and what only expert parallelism has
// (is_ep_option()). The mode may be an axis of -L.
bool differ_in_mode_only(const Point& a, const Point& b);

// Returns the routing that runs of this shape see, with the spares of their capacity.
Routing routing_of(const MoeShape& shape, const DistributionOptions& distribution, uint32_t seed,
                   int num_spares = 0);

}  // namespace moehill

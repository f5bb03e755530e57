// Peaks, bandwidths and the mesh; blocks are in probe_blocks.cc.
#include "moehill/cli/probe_measurement.h"

#include <unistd.h>

#include <algorithm>

#include "moehill/cli/mesh_measurement.h"
#include "moehill/cli/probe_blocks.h"
#include "moehill/cli/yardstick.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/model/work.h"

namespace moehill {
namespace {

constexpr int kAttempts = 3;
constexpr double kPatience_s = 15;  // with cores that other work takes

template <typename Measure>
double best_of(CoreWatch& watch, const Measure& measure) {
  double best = 0;
  for (int i = 0; i < kAttempts; ++i) watch.run([&] { best = std::max(best, measure()); });
  return best;
}

void measure_bandwidth(Yardstick& yardstick, int cores, CoreWatch& watch, Probe& probe) {
  for (int threads = 1; threads <= cores;
       threads = threads < cores ? std::min(2 * threads, cores) : cores + 1) {
    ThreadTeam& team = yardstick.team(threads);
    const auto on_team = [&](double (*measure)(ThreadTeam&)) {
      return best_of(watch, [&] { return measure_pinned(team, measure); });
    };
    probe.bandwidth.push_back({threads, on_team(measure_read_bandwidth), on_team(measure_copy_bandwidth)});
  }
}

double barrier_seconds(Mesh& mesh, CoreWatch& watch) {
  constexpr int kBarriers = 2000;
  return 1 / best_of(watch, [&] {
           double elapsed = 0;
           mesh.run([&](Group& group) {
             group.barrier();
             const double begin = seconds();
             for (int i = 0; i < kBarriers; ++i) group.barrier();
             if (group.rank() == 0) elapsed = seconds() - begin;
           });
           return kBarriers / elapsed;
         });
}

// Takes over what is new or faster than what the curves have.
void keep_best(const std::vector<CollectiveResult>& results, int devices, Hardware& h) {
  for (const CollectiveResult& result : results) {
    const std::string op = name_of(result.collective);
    auto curve = std::find_if(h.collectives.begin(), h.collectives.end(), [&](const CollectiveCurve& c) {
      return c.op == op && c.devices == devices && c.dtype == result.dtype;
    });
    if (curve == h.collectives.end())
      curve = h.collectives.insert(curve, {op, devices, {}, {}, result.dtype});
    const double bytes = result.bytes() * bus_factor(result.collective, devices);
    const double best = *std::min_element(result.samples.begin(), result.samples.end());
    const size_t i = static_cast<size_t>(std::find(curve->bytes.begin(), curve->bytes.end(), bytes) -
                                         curve->bytes.begin());
    if (i == curve->bytes.size()) {
      curve->bytes.push_back(bytes);
      curve->seconds.push_back(best);
    } else {
      curve->seconds[i] = std::min(curve->seconds[i], best);
    }
  }
}

// What the model asks for: sums of both types, and copies. The largest size leaves the caches of most
// machines, as gradients do.
std::vector<MeshOptions> collective_options(int64_t max_bytes) {
  MeshOptions f32;
  f32.min_bytes = 1024;
  f32.max_bytes = max_bytes;
  f32.factor = 4;
  f32.iters = 8;
  f32.check = f32.copies = false;
  f32.collectives = {Collective::all_reduce, Collective::reduce_scatter, Collective::all_gather,
                     Collective::all_to_all};
  MeshOptions bf16 = f32;
  bf16.dtype = DType::bf16;
  bf16.collectives = {Collective::all_reduce, Collective::reduce_scatter};
  return {f32, bf16};
}

// Every collective on meshes of devices with one thread each. Called more than once, so that its calls lie
// apart in time.
void measure_collectives(const std::vector<int>& cpus, int64_t max_bytes, CoreWatch& watch, Hardware& h) {
  const int cores = static_cast<int>(cpus.size());
  for (int devices = 2; devices <= cores;
       devices = devices < cores ? std::min(2 * devices, cores) : cores + 1) {
    ThreadMesh mesh(devices, 1, {cpus.begin(), cpus.begin() + devices});
    for (const MeshOptions& options : collective_options(max_bytes))
      watch.run([&] { keep_best(measure_mesh(mesh, options).collectives, devices, h); });
    if (devices < cores) continue;
    const double barrier = barrier_seconds(mesh, watch);
    h.barrier_s = h.barrier_s > 0 ? std::min(h.barrier_s, barrier) : barrier;
  }
}

// Latency and bandwidth of the node's one level: the smallest and the largest all_to_all.
LinkLevel shared_memory_level(const Hardware& h) {
  for (const CollectiveCurve& curve : h.collectives) {
    if (curve.op != "all_to_all") continue;
    return {"shared memory", curve.seconds.front(),
            curve.bytes.back() / (curve.seconds.back() - curve.seconds.front())};
  }
  return {"shared memory", 1e-6, h.memory_bytes_per_s / 2};  // one core: nobody to talk to
}

void describe(const Environment& environment, Probe& probe) {
  const Topology& topology = environment.topology;
  Hardware& h = probe.hardware;
  h.name = "this-machine";
  h.source = "moehill probe on " + topology.cpu_model + ", " + probe.time_utc;
  h.efficiency_source = "steps of calibration blocks, stage by stage, the median of three or five";
  h.unit = "core";
  h.peak_f32 = h.peak_bf16 = probe.fma_all / topology.num_cores;
  h.memory_bytes_per_s = probe.bandwidth.front().read;
  for (const ThreadBandwidth& b : probe.bandwidth)
    h.node_memory_bytes_per_s = std::max(h.node_memory_bytes_per_s, b.read);
  h.memory_bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const double sizes[] = {static_cast<double>(topology.l1d_bytes), static_cast<double>(topology.l2_bytes),
                          static_cast<double>(topology.l3_bytes)};
  constexpr const char* kNames[] = {"L1d", "L2", "L3"};
  for (int i = 0; i < 3; ++i) {
    const int sharers = i < 2 ? 1 : std::max(1, topology.num_cores / std::max(1, topology.num_l3));
    if (sizes[i] > 0) h.caches.push_back({kNames[i], sizes[i], sharers});
  }
}

}  // namespace

Probe measure_probe(const Environment& environment, const std::function<void(const std::string&)>& progress) {
  const double begin = seconds();
  const Topology& topology = environment.topology;
  const int cores = topology.num_cores;
  Probe probe;
  probe.time_utc = utc_now();
  probe.cpu = topology.cpu_model;
  probe.build = environment.build;
  probe.cores = cores;
  Yardstick yardstick(topology.core_cpus);
  progress("peaks and bandwidths");
  CoreWatch watch(topology.core_cpus, kPatience_s);
  const auto rate = [&](int threads, double (*measure)(ThreadTeam&)) {
    return best_of(watch, [&] { return measure_pinned(yardstick.team(threads), measure); });
  };
  probe.fma_one = rate(1, measure_fma_peak);
  probe.fma_all = rate(cores, measure_fma_peak);
  probe.tile_all = rate(cores, measure_tile_peak);
  measure_bandwidth(yardstick, cores, watch, probe);
  describe(environment, probe);
  Hardware& hardware = probe.hardware;
  const auto collectives = [&](int64_t max_bytes) {
    progress("collectives");
    measure_collectives(topology.core_cpus, max_bytes, watch, hardware);
  };
  collectives(int64_t{64} << 20);
  probe_blocks(topology.core_cpus, watch, hardware, progress);
  collectives(int64_t{1} << 20);
  hardware.topology.devices_per_node = cores;
  hardware.topology.levels = {shared_memory_level(hardware)};
  probe.repeated = watch.num_repeated();
  probe.disturbed = watch.num_disturbed();
  probe.seconds = seconds() - begin;
  return probe;
}

}  // namespace moehill

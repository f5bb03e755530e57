// Implementation of probe/probe_links.h: which collectives are measured with which sizes, and how curves
// become levels.
#include "moehill/probe/probe_links.h"

#include <algorithm>
#include <memory>

#include "moehill/base/error.h"
#include "moehill/bench/statistics.h"
#include "moehill/machine/clock.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

constexpr int64_t kJobBytes = int64_t{16} << 20;  // largest size in a job, whose links may be slow

double barrier_seconds(Mesh& mesh, CoreWatch& watch) {
  constexpr int kBarriers = 2000;
  // The inverse of the time is passed on, because best_of() keeps the largest value.
  return 1 / watch.best_of([&] {
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

// Takes over each result that is new, or faster than the one in the curves.
void keep_best(const std::vector<CollectiveResult>& results, int devices,
               std::vector<CollectiveCurve>& curves) {
  for (const CollectiveResult& result : results) {
    const Collective op = result.collective;
    auto curve = std::find_if(curves.begin(), curves.end(), [&](const CollectiveCurve& c) {
      return c.op == op && c.devices == devices && c.dtype == result.dtype;
    });
    if (curve == curves.end()) curve = curves.insert(curve, {op, devices, {}, {}, result.dtype});
    const double bytes = result.bytes() * bus_factor(result.collective, devices);
    const double typical = median_of(result.samples);
    const size_t i = static_cast<size_t>(std::find(curve->bytes.begin(), curve->bytes.end(), bytes) -
                                         curve->bytes.begin());
    if (i == curve->bytes.size()) {
      curve->bytes.push_back(bytes);
      curve->seconds.push_back(typical);
    } else {
      curve->seconds[i] = std::min(curve->seconds[i], typical);
    }
  }
}

// Returns the collectives that the model asks for: sums in both types, and copies. The largest size exceeds
// the caches of most machines, as gradients do. The `devices` devices of a node share its caches.
std::vector<MeshOptions> collective_options(int64_t max_bytes, const Topology& topology, int devices) {
  MeshOptions f32;
  f32.min_bytes = 1024;
  f32.max_bytes = max_bytes;
  f32.factor = 4;
  f32.iters = 8;
  f32.warmup = 2;
  f32.check = f32.copies = false;
  f32.cold_bytes = cold_cache_bytes(topology) / devices;
  f32.collectives = {Collective::all_reduce, Collective::reduce_scatter, Collective::all_gather,
                     Collective::all_to_all};
  MeshOptions bf16 = f32;
  bf16.dtype = DType::bf16;
  bf16.collectives = {Collective::all_reduce, Collective::reduce_scatter};
  return {f32, bf16};
}

const CollectiveCurve* find_curve(const std::vector<CollectiveCurve>& curves, Collective op) {
  const auto found = std::find_if(curves.begin(), curves.end(),
                                  [&](const CollectiveCurve& curve) { return curve.op == op; });
  return found == curves.end() ? nullptr : &*found;
}

// Takes latency and bandwidth from the smallest and the largest size. `part` is the share of the curve's
// bytes that the link carries.
LinkLevel level_of(const std::string& name, const CollectiveCurve& curve, double part = 1) {
  return {name, curve.seconds.front(),
          part * curve.bytes.back() / (curve.seconds.back() - curve.seconds.front())};
}

}  // namespace

void measure_thread_links(const Topology& topology, int64_t max_bytes, CoreWatch& watch, Hardware& h) {
  const std::vector<int>& cpus = topology.core_cpus;
  const int cores = topology.num_cores;
  for (int devices = 2; devices <= cores;
       devices = devices < cores ? std::min(2 * devices, cores) : cores + 1) {
    ThreadMesh mesh(devices, 1, {cpus.begin(), cpus.begin() + devices});
    for (const MeshOptions& options : collective_options(max_bytes, topology, devices))
      watch.run([&] { keep_best(measure_mesh(mesh, options).collectives, devices, h.collectives); });
    if (devices < cores) continue;
    const double barrier = barrier_seconds(mesh, watch);
    h.barrier_s = h.barrier_s > 0 ? std::min(h.barrier_s, barrier) : barrier;
  }
}

void use_thread_links(int num_cores, Hardware& h) {
  h.topology.devices_per_node = num_cores;
  const CollectiveCurve* curve =
      // Without such a curve there is one core, and no other device.
      find_curve(h.collectives, Collective::all_to_all);
  h.topology.levels = {curve == nullptr ? LinkLevel{"shared memory", 1e-6, h.memory_bytes_per_s / 2}
                                        : level_of("shared memory", *curve)};
}

LinkLevel JobLinks::network() const {
  const CollectiveCurve* curve = find_curve(collectives, Collective::all_to_all);
  MOEHILL_CHECK(curve != nullptr, "a job of {} without links", num_processes);
  // The bytes of a curve are what one device sends to all others. A node's connection carries the bytes that
  // its devices send to the other nodes.
  const double others = num_processes - 1, away = num_processes - devices_per_node();
  return level_of("network", *curve, devices_per_node() * away / others);
}

JobLinks measure_job_links(const Job& job, const Topology& topology) {
  JobLinks links;
  if (job.num_processes() == 1) return links;
  links.num_processes = job.num_processes();
  links.num_nodes = job.session()->num_nodes();
  const std::unique_ptr<Mesh> mesh =
      job.session()->make_mesh({.threads_per_device = 1, .node_cpus = topology.core_cpus});
  for (const MeshOptions& options : collective_options(kJobBytes, topology, links.devices_per_node()))
    keep_best(measure_mesh(*mesh, options).collectives, links.num_processes, links.collectives);
  return links;
}

void use_job_links(const JobLinks& links, Hardware& h) {
  if (links.num_processes == 1) return;
  const int in_node = links.num_nodes > 1 ? links.devices_per_node() : h.topology.devices_per_node;
  std::erase_if(h.collectives, [&](const CollectiveCurve& curve) {
    return curve.devices > in_node || curve.devices == links.num_processes;
  });
  h.collectives.insert(h.collectives.end(), links.collectives.begin(), links.collectives.end());
  if (links.num_nodes == 1) return;
  h.topology.kind = TopologyKind::fat_tree;  // one switch that all nodes are connected to
  h.topology.dims = {links.num_nodes, links.num_nodes};
  h.topology.devices_per_node = in_node;
  h.topology.max_devices = 0;
  h.topology.levels.push_back(links.network());
}

}  // namespace moehill

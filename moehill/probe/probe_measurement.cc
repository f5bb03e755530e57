// Implementation of probe/probe_measurement.h: peaks and bandwidths. probe_blocks.cc measures blocks, and
// probe_links.cc links.
#include "moehill/probe/probe_measurement.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/pinning.h"
#include "moehill/model/work.h"
#include "moehill/probe/probe_blocks.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {
namespace {

constexpr double kPatience_s = 15;  // how long to wait for cores that other work takes

constexpr size_t kPasses = 5;

ReadBandwidth measure_read(ThreadTeam& team, ThreadTeam& owner, int64_t bytes, CoreWatch& watch) {
  const ReadMemory memory(owner, bytes);
  std::vector<double> all;
  for (int i = 0; i < 3; ++i) {
    watch.run([&] {
      for (size_t pass = 0; pass < kPasses; ++pass) all.push_back(memory.read(team).rate());
    });
  }
  return best_read(all, kPasses);
}

int64_t bytes_to_read(const Topology& topology) {
  return read_memory_bytes(topology.l3_bytes * std::max(1, topology.num_l3));
}

void measure_bandwidth(Yardstick& yardstick, const Topology& topology, CoreWatch& watch, Probe& probe) {
  const int cores = topology.num_cores;
  for (int threads = 1; threads <= cores;
       threads = threads < cores ? std::min(2 * threads, cores) : cores + 1) {
    ThreadTeam& team = yardstick.team({threads});
    const ReadBandwidth read = measure_pinned(
        team, [&](ThreadTeam&) { return measure_read(team, team, bytes_to_read(topology), watch); });
    const double copy = watch.best_of(
        [&] { return measure_pinned(team, [](ThreadTeam& t) { return measure_copy_bandwidth(t); }); });
    probe.bandwidth.push_back({threads, read, copy});
  }
}

void measure_peaks(Yardstick& yardstick, int cores, CoreWatch& watch, Probe& probe) {
  for (const PeakKernel& kernel : peak_kernels()) {
    const auto rate = [&](int threads) {
      return watch.best_of([&] {
        return measure_pinned(yardstick.team({threads}),
                              [&](ThreadTeam& team) { return measure_peak(team, kernel); });
      });
    };
    const double one = rate(1);
    take_peak(kernel, one, rate(cores), probe);
  }
}

// Measures all cores of one NUMA node on the memory of another, and on its own.
void measure_numa_pairs(const Topology& topology, CoreWatch& watch, Probe& probe) {
  // With a single node, measure_bandwidth() has measured that already.
  if (topology.num_numa_nodes == 1) return;
  std::vector<std::unique_ptr<ThreadTeam>> teams;
  for (int node = 0; node < topology.num_numa_nodes; ++node) {
    std::vector<int> cpus;
    for (size_t i = 0; i < topology.core_cpus.size(); ++i) {
      if (topology.core_numa[i] == node) cpus.push_back(topology.core_cpus[i]);
    }
    const int threads = static_cast<int>(cpus.size());
    teams.push_back(cpus.empty() ? nullptr : std::make_unique<ThreadTeam>(threads, std::move(cpus)));
  }
  for (size_t c = 0; c < teams.size(); ++c) {
    for (size_t m = 0; m < teams.size(); ++m) {
      // A node may have memory alone, or only cores that we may not use.
      if (teams[c] == nullptr || teams[m] == nullptr) continue;
      const PinScope pinned(teams[c]->cpus().front());
      const double copy = watch.best_of([&] { return measure_copy_bandwidth(*teams[c], *teams[m]); });
      probe.numa.push_back({static_cast<int>(c), static_cast<int>(m),
                            measure_read(*teams[c], *teams[m], bytes_to_read(topology), watch).median, copy});
    }
  }
}

}  // namespace

void take_peak(const PeakKernel& kernel, double one, double all, Probe& probe) {
  if (kernel.dtype == DType::f32 && all > probe.f32_all) {
    probe.f32_one = one;
    probe.f32_all = all;
    probe.hardware.f32_instruction = kernel.instruction;
  }
  if (all > probe.bf16_all) {
    probe.bf16_one = one;
    probe.bf16_all = all;
    probe.hardware.bf16_instruction = kernel.instruction;
  }
}

ReadBandwidth best_read(const std::vector<double>& passes, size_t passes_of_one) {
  const auto [min, max] = std::ranges::minmax_element(passes);
  ReadBandwidth best{0, *min, *max};
  for (auto first = passes.begin(); first != passes.end();
       first += static_cast<std::ptrdiff_t>(passes_of_one))
    best.median =
        std::max(best.median, median_of({first, first + static_cast<std::ptrdiff_t>(passes_of_one)}));
  return best;
}

void describe_hardware(const Topology& topology, Probe& probe) {
  Hardware& h = probe.hardware;
  h.name = "this-machine";
  h.source = "moehill probe on " + topology.cpu_model + ", " + probe.time_utc;
  h.efficiency_source = "steps of calibration blocks, stage by stage, the median of three or five";
  h.unit = HardwareUnit::core;
  h.peak_f32 = probe.f32_all / topology.num_cores;
  h.peak_bf16 = probe.bf16_all / topology.num_cores;
  h.memory_bytes_per_s = probe.bandwidth.front().read.median;
  for (const ThreadBandwidth& b : probe.bandwidth)
    h.node_memory_bytes_per_s = std::max(h.node_memory_bytes_per_s, b.read.median);
  h.memory_bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const double sizes[] = {static_cast<double>(topology.l1d_bytes), static_cast<double>(topology.l2_bytes),
                          static_cast<double>(topology.l3_bytes)};
  constexpr const char* kNames[] = {"L1d", "L2", "L3"};
  for (int i = 0; i < 3; ++i) {
    const int sharers = i < 2 ? 1 : std::max(1, topology.num_cores / std::max(1, topology.num_l3));
    if (sizes[i] > 0) h.caches.push_back({kNames[i], sizes[i], sharers});
  }
}

Probe measure_probe(const Environment& environment, const JobLinks& job_links,
                    const std::function<void(const std::string&)>& progress,
                    const std::function<void(const Probe&)>& measured) {
  const double begin = seconds();
  const Topology& topology = environment.topology;
  const int cores = topology.num_cores;
  Probe probe;
  probe.time_utc = utc_now();
  probe.cpu = topology.cpu_model;
  probe.build = environment.build;
  probe.simd = environment.kernel;
  probe.cores = cores;
  probe.num_processes = job_links.num_processes;
  probe.num_nodes = job_links.num_nodes;
  Yardstick yardstick(topology.core_cpus);
  progress("peaks and bandwidths");
  CoreWatch watch(topology.core_cpus, kPatience_s);
  const auto rate = [&](int threads, double (*measure)(ThreadTeam&)) {
    return watch.best_of([&] { return measure_pinned(yardstick.team({threads}), measure); });
  };
  measure_peaks(yardstick, cores, watch, probe);
  probe.tile_all = rate(cores, measure_tile_peak);
  measure_bandwidth(yardstick, topology, watch, probe);
  measure_numa_pairs(topology, watch, probe);
  measured(probe);
  describe_hardware(topology, probe);
  Hardware& hardware = probe.hardware;
  const auto collectives = [&](int64_t max_bytes) {
    progress("collectives");
    measure_thread_links(topology, max_bytes, watch, hardware);
  };
  // Collectives are measured before and after the blocks, so that a disturbance of some seconds cannot spoil
  // both.
  collectives(int64_t{64} << 20);
  probe_blocks(topology, watch, hardware, progress, [&] { measured(probe); });
  collectives(int64_t{1} << 20);
  use_thread_links(cores, hardware);
  use_job_links(job_links, hardware);
  probe.repeated = watch.num_repeated();
  probe.disturbed = watch.num_disturbed();
  probe.seconds = seconds() - begin;
  return probe;
}

void refuse_disturbed(const Probe& probe) {
  if (probe.disturbed == 0) return;
  throw std::runtime_error(
      fmt::format("probe: {} never had all cores, and predictions would rest on {}; nothing is kept. Measure "
                  "on a quieter machine, or keep it by --keep-disturbed",
                  count_text(probe.disturbed, "measurement"), probe.disturbed == 1 ? "it" : "them"));
}

}  // namespace moehill

// The probe measures how fast this machine does the operations that a step consists of. The model
// (model/predict.h) predicts from the probe; the probe itself predicts nothing.
// Products and row operations are measured where they run: in steps of a block, stage by stage, each begun
// with cold caches (quiet/cold_caches.h). Peaks and bandwidths are the best of three (for reading, the best
// of three medians of five passes); times of stages and collectives are medians. A measurement during which
// not all cores were at hand is repeated (quiet/core_watch.h).
//
//     const Probe probe = measure_probe(detect_environment(), JobLinks{}, progress, measured);
//     write_probe(probe, default_probe_file());
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/model/hardware.h"
#include "moehill/probe/probe_links.h"
#include "moehill/quiet/environment.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// ThreadBandwidth is B/s of all threads; a copy counts bytes read and written.
struct ThreadBandwidth {
  int threads = 1;
  // Median: the best of three medians of five passes. Min and max are those of all fifteen.
  ReadBandwidth read;
  double copy = 0;
};

// NumaBandwidth is the bandwidth between two NUMA nodes.
struct NumaBandwidth {
  int cores = 0, memory = 0;  // numbers of nodes
  double read = 0, copy = 0;  // B/s of all cores of node `cores` on the memory of node `memory`
};

// Probe is everything that was measured.
struct Probe {
  std::string time_utc, cpu, build;
  std::string simd;  // the SIMD target of the kernels; empty: an older program did not write it down
  int cores = 1;
  double seconds = 0;                                           // that the probe took
  double f32_one = 0, f32_all = 0, bf16_one = 0, bf16_all = 0;  // FLOP/s of the CPU's own instructions
  double tile_all = 0;                                          // FLOP/s of the kernels' f32 tile
  std::vector<ThreadBandwidth> bandwidth;
  std::vector<NumaBandwidth> numa;       // every pair, if there are several nodes
  int num_processes = 1, num_nodes = 1;  // of the job whose links were measured
  // Measurements that were run again, and those that never had all cores at hand.
  int repeated = 0, disturbed = 0;
  Hardware hardware;  // what the model reads
};

// Takes over a peak if its instruction is the fastest on all cores. `one` and `all` are FLOP/s of one core
// and of all. An f32 instruction also serves bf16.
void take_peak(const PeakKernel& kernel, double one, double all, Probe& probe);
// Returns the least and the most of all passes, and the best of the medians of `passes_of_one` passes in a
// row.
ReadBandwidth best_read(const std::vector<double>& passes, size_t passes_of_one);
// Fills names, peaks, bandwidths and caches of probe.hardware.
void describe_hardware(const Topology& topology, Probe& probe);

// Measures the machine, in one process alone. It tells `progress` what is measured next. It calls `measured`
// with the probe as far as it goes, whenever one of the probe's tables has more rows.
Probe measure_probe(const Environment& environment, const JobLinks& job_links,
                    const std::function<void(const std::string&)>& progress,
                    const std::function<void(const Probe&)>& measured);

// Throws std::runtime_error if other work took cores from a measurement each time that it was repeated, since
// predictions would rest on it.
void refuse_disturbed(const Probe& probe);

}  // namespace moehill

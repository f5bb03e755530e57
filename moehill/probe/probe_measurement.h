// The probe: what this machine does in the operations that a step is made of.
//
// Products and row operations are measured where they run: in steps of a block, stage by stage, each begun
// with cold caches (cold_caches.h). Peaks and bandwidths (of reading, medians of five passes) are the best of
// three, times of stages and collectives medians; what ran while not all cores were at hand runs again
// (core_watch.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/model/hardware.h"
#include "moehill/probe/probe_links.h"
#include "moehill/quiet/environment.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// B/s of all threads; a copy counts bytes read and written.
struct ThreadBandwidth {
  int threads = 1;
  ReadBandwidth read;  // median: the best of three medians of five passes; min and max of all fifteen
  double copy = 0;
};

struct NumaBandwidth {
  int cores = 0, memory = 0;  // nodes
  double read = 0, copy = 0;  // B/s of all cores of the one on the memory of the other
};

struct Probe {
  std::string time_utc, cpu, build;
  int cores = 1;
  double seconds = 0;                                           // that it took
  double f32_one = 0, f32_all = 0, bf16_one = 0, bf16_all = 0;  // FLOP/s by the CPU's own instructions
  double tile_all = 0;                                          // FLOP/s of the kernels' f32 tile
  std::vector<ThreadBandwidth> bandwidth;
  std::vector<NumaBandwidth> numa;       // every pair where there are several nodes
  int num_processes = 1, num_nodes = 1;  // of the job whose links were measured
  int repeated = 0, disturbed = 0;  // measurements run again; those that never ran with all cores at hand
  Hardware hardware;                // what the model reads
};

// Takes over what follows from measurements. A peak is that of the fastest instruction on all cores,
// one and all being FLOP/s of a core and of all; f32's serve bf16 too.
void take_peak(const PeakKernel& kernel, double one, double all, Probe& probe);
// The spread of all passes, and the best of the medians of `passes_of_one` after each other.
ReadBandwidth best_read(const std::vector<double>& passes, size_t passes_of_one);
// Names, peaks, bandwidths and caches of probe.hardware.
void describe_hardware(const Topology& topology, Probe& probe);

// Measures the machine, by one process alone; `progress` is told what is measured next. `measured` is called
// with the probe as far as it goes, whenever a table of it has more rows.
Probe measure_probe(const Environment& environment, const JobLinks& job_links,
                    const std::function<void(const std::string&)>& progress,
                    const std::function<void(const Probe&)>& measured);

}  // namespace moehill

// The probe: what this machine does in the operations that a step is made of.
//
// Products and row operations are measured where they run: in steps of a block, stage by stage, with the
// caches as a step leaves them. Every figure is the best of several, so that other work on the machine
// disturbs it the least; what ran while not all cores were at hand runs again (core_watch.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/cli/environment.h"
#include "moehill/model/hardware.h"

namespace moehill {

struct ThreadBandwidth {
  int threads = 1;
  double read = 0, copy = 0;  // B/s of all threads; a copy counts bytes read and written
};

struct Probe {
  std::string time_utc, cpu, build;
  int cores = 1;
  double seconds = 0;                             // that it took
  double fma_one = 0, fma_all = 0, tile_all = 0;  // FLOP/s
  std::vector<ThreadBandwidth> bandwidth;
  int repeated = 0, disturbed = 0;  // measurements run again; those that never ran with all cores at hand
  Hardware hardware;                // what the model reads
};

// `progress` is told what is measured next.
Probe measure_probe(const Environment& environment, const std::function<void(const std::string&)>& progress);

}  // namespace moehill

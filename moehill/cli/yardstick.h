// Yardstick: the peaks of the cores that the points use, measured in the same process between the rounds.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "moehill/cli/job.h"
#include "moehill/machine/thread_team.h"
#include "moehill/parallel/run.h"

namespace moehill {

// One team per number of threads, on the node's CPUs from the first-th on, and round (unpinned when there are
// more threads than CPUs): a process of several on a node begins with its own.
class Yardstick {
 public:
  explicit Yardstick(std::vector<int> node_cpus, int64_t first = 0);

  ThreadTeam& team(int num_threads);
  const std::vector<int>& node_cpus() const { return node_cpus_; }
  void measure_fma();  // one more short measurement on every team asked for so far
  void measure_tile();
  void measure_bandwidth();

  // The best of the measurements so far: what else runs on the machine only lowers them. 0 without any.
  double peak_flops(int num_threads) const;
  // Medians of them.
  double typical_peak_flops(int num_threads) const;
  double tile_flops(int num_threads) const;
  double read_bytes_per_s(int num_threads) const;
  int num_measurements() const { return num_measurements_; }

 private:
  struct Team {
    std::unique_ptr<ThreadTeam> threads;
    std::vector<double> flops, tile, bandwidth;
  };
  double median(int num_threads, std::vector<double> Team::*samples) const;

  std::vector<int> node_cpus_, own_first_;  // in order; and from the first-th on
  std::map<int, Team> teams_;
  int num_measurements_ = 0;
};

// Threads of this process that work on a point: of all its devices, or of the one device of a process.
int yardstick_threads(const RunConfig& config, const Job& job);

// The processes measure at the same time, so that their sum is what all cores give together; the first one's
// larger teams, which are those of points that it works on alone, while the others leave it the cores.
void measure_together(Yardstick& yardstick, const Job& job, void (Yardstick::*measure)());

// With the calling thread on the team's first CPU.
double measure_pinned(ThreadTeam& team, double (*measure)(ThreadTeam&));

}  // namespace moehill

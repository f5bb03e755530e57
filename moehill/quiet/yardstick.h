// Yardstick: the peaks of the cores that the points use, measured in the same job between the rounds.
//
// All processes of a job begin a burst together, and its rate is what all of them did over the time from the
// earliest start to the latest end. So processes that take turns on a core have that core's peak once, not
// once each.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/pinning.h"
#include "moehill/machine/thread_team.h"
#include "moehill/mesh/job.h"

namespace moehill {

// FLOP/s of one instruction. What else runs on the machine only lowers it, so the best counts; typical: the
// median of the measurements.
struct InstructionPeak {
  std::string instruction;
  double best = 0, typical = 0;
};

struct ReadBandwidth {
  double median = 0, min = 0, max = 0;  // B/s, of the passes
};

// Peaks are reached by all threads of a point at once; zeros: not measured. That of bf16 is by the fastest
// instruction of the CPU that multiplies it, which is f32's where there is no other.
struct Peaks {
  InstructionPeak f32, bf16;
  ReadBandwidth read;
  const InstructionPeak& of(DType dtype) const { return dtype == DType::f32 ? f32 : bf16; }
};

// Threads that work on a point: of every process of the job or, alone, of the first one while the others
// sleep.
struct PointThreads {
  int num_threads = 1;  // of a process
  bool alone = false;
  auto operator<=>(const PointThreads&) const = default;
};
PointThreads threads_of(const RunConfig& config, const Job& job);

// The rate of several processes' bursts, whose times are on the first one's clock; 0 if nobody did anything.
double rate_together(const std::vector<Burst>& bursts);

class Yardstick {
 public:
  // Threads are where the runs' are: on the node's CPUs from the first on, or on this process's own of
  // several. They are unpinned where there are more threads than CPUs.
  explicit Yardstick(std::vector<int> node_cpus, Job job = {});

  // This process's team.
  ThreadTeam& team(PointThreads threads);
  const std::vector<int>& node_cpus() const { return node_cpus_; }

  // These are measured from here on. All processes call this and all that follows alike.
  void watch(PointThreads threads) { measured_[threads]; }
  void measure_peaks();
  void measure_bandwidth();
  void measure_tile();  // of this process alone

  // These are complete on the first process alone.
  Peaks peaks(PointThreads threads) const;
  double tile_flops(int num_threads) const;

 private:
  struct Samples {
    std::vector<std::vector<double>> flops;  // [instruction][measurements]
    std::vector<double> read, tile;
  };
  template <typename Measure>
  Burst measure_here(PointThreads threads, const Measure& measure);
  std::vector<double> rates(const std::vector<Burst>& own, const std::vector<ClockReading>& before) const;
  std::vector<ClockReading> read_clocks() const;
  std::unique_ptr<ReadMemory> memory_for(PointThreads threads);
  bool takes_part(PointThreads threads) const { return !threads.alone || job_.is_root(); }
  int num_sharers(PointThreads threads) const;  // processes of a node that do the same

  Job job_;
  std::vector<int> node_cpus_;
  std::map<PointThreads, std::unique_ptr<ThreadTeam>> teams_;
  std::map<PointThreads, Samples> measured_;
};

// Calls `measure` with the calling thread on the team's first CPU.
template <typename Measure>
auto measure_pinned(ThreadTeam& team, const Measure& measure) {
  const std::vector<int>& cpus = team.cpus();
  const auto pinned = cpus.empty() ? nullptr : std::make_unique<PinScope>(cpus.front());
  return measure(team);
}

}  // namespace moehill

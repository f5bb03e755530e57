// Yardstick measures the peaks of the cores that the points use, in the same job and between the rounds. A
// result is then a share of what these cores did at that time, and not of a number from a data sheet.
// All processes of a job begin a burst (a short run of multiply-adds) together. The rate of the burst is the
// work of all processes over the time from the earliest start to the latest end. If two processes take turns
// on a core, that core thus counts once.
// Yardstick compares nothing with these peaks; measure/results.h does.
//
//     Yardstick yardstick(cpus, job);
//     yardstick.watch(threads_of(config, job));
//     yardstick.measure_peaks();                                    // in each round, on all processes
//     yardstick.peaks(threads_of(config, job)).of(DType::f32).best; // FLOP/s
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

// InstructionPeak is the FLOP/s of one instruction. Other work on the machine can only lower it, so the best
// measurement counts; `typical` is the median, which shows how much other work there was.
struct InstructionPeak {
  std::string instruction;
  double best = 0, typical = 0;
};

// ReadBandwidth is how fast memory was read, in passes over more bytes than the caches hold.
struct ReadBandwidth {
  double median = 0, min = 0, max = 0;  // B/s, of the passes
};

// Peaks are what all threads of a point reach together; zeros: not measured. The peak of bf16 is the peak of
// the CPU's fastest instruction that multiplies bf16, or the peak of f32 if there is none.
struct Peaks {
  InstructionPeak f32, bf16;
  ReadBandwidth read;
  const InstructionPeak& of(DType dtype) const { return dtype == DType::f32 ? f32 : bf16; }
};

// PointThreads are the threads that work on a point: in every process of the job or, if `alone`, in the first
// process while the others sleep.
struct PointThreads {
  int num_threads = 1;  // of a process
  bool alone = false;
  auto operator<=>(const PointThreads&) const = default;
};
PointThreads threads_of(const RunConfig& config, const Job& job);

// Returns the rate of several processes' bursts, whose times are on the clock of the first process; 0 if
// nobody did anything.
double rate_together(const std::vector<Burst>& bursts);

// Returns the rate of each burst of a job. `values` has for each process the amount, the begin and the end of
// one burst after the other, on that process's clock; the clocks were read before and after the bursts.
std::vector<double> job_rates(const std::vector<std::vector<double>>& values,
                              const std::vector<ClockReading>& before,
                              const std::vector<ClockReading>& after);

// Returns the largest of each n neighbouring rates. The number of rates must be a multiple of n.
std::vector<double> best_of_each(const std::vector<double>& rates, int64_t n);

// Yardstick keeps a team of threads and all samples for each PointThreads that it watches.
class Yardstick {
 public:
  // The threads run where the points' threads run: on the node's CPUs from the first one on or, if there are
  // several processes, on this process's own CPUs. They are not pinned if there are more threads than CPUs.
  explicit Yardstick(std::vector<int> node_cpus, Job job = {});

  // This process's team.
  ThreadTeam& team(PointThreads threads);
  const std::vector<int>& node_cpus() const { return node_cpus_; }

  // Measures this point's threads from here on. All processes have to call this function and the measure
  // functions in the same order.
  void watch(PointThreads threads) { measured_[threads]; }
  void measure_peaks();
  void measure_bandwidth();
  void measure_tile();  // of this process only

  // These are complete on the first process only.
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

// Calls `measure` while the calling thread is pinned to the team's first CPU.
template <typename Measure>
auto measure_pinned(ThreadTeam& team, const Measure& measure) {
  const std::vector<int>& cpus = team.cpus();
  const auto pinned = cpus.empty() ? nullptr : std::make_unique<PinScope>(cpus.front());
  return measure(team);
}

}  // namespace moehill

// Measurement makes the runs of all points, checks each, then times them interleaved. It decides what is
// trusted: a sample only counts if the step's results were right.
// A command uses measure() (measure/measure.h), which adds yardsticks. The probe times single runs with
// StepTimer.
//
//     Measurement measurement(options, points, job, yardstick, watcher);
//     measurement.prepare();                    // makes, steps and checks every run
//     measurement.time(&command);
//     command.points = measurement.take_results();
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "moehill/api/measuring.h"
#include "moehill/machine/clock.h"
#include "moehill/measure/checked_results.h"
#include "moehill/measure/cpu_use.h"
#include "moehill/measure/results.h"
#include "moehill/measure/stage_listener.h"
#include "moehill/mesh/job.h"
#include "moehill/quiet/cold_caches.h"
#include "moehill/quiet/disturbance.h"
#include "moehill/quiet/pace.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// All points with their runs stay in memory until the measurement ends. Every method is collective over the
// job; results are complete on its root.
class Measurement {
 public:
  // `clock` gives seconds since any fixed moment.
  Measurement(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
              Yardstick& yardstick, Watcher watcher, std::function<double()> clock = seconds);

  // Makes every run, steps it once with clocked stages, and checks (and dumps) what that step left before
  // another run with the same operands overwrites it.
  void prepare();

  // Times the points whose check has not failed.
  // Before every step, the measurement overwrites all results and the work space with NaN and then empties
  // the caches. After the step, it compares every bit of every result with what the checked step left, by
  // hash. Before one timed step, drawn by chance, each point makes another step on other tokens and other
  // weights, which is checked and not timed. A step that uses results, packed weights or scales that it kept
  // would be wrong there. A point also fails if a process used more CPUs in its steps than it has threads. A
  // point that fails loses its samples.
  // A round in which a process was held up is repeated. After SIGINT, SIGTERM, SIGHUP or SIGXCPU the complete
  // rounds are kept; throws Interrupted if there are none.
  void time(CommandResult* command);

  // Seconds of the first step of the slowest point, with cold caches and untouched memory.
  double longest_step() const { return longest_step_; }

  std::vector<PointResult> take_results();
  // Returns the state of the caches in which every step begins, in words.
  std::string cache_state() const;

 private:
  // LivePoint is one point while it is measured.
  struct LivePoint {
    PointResult result;
    std::unique_ptr<Run> run;
    std::unique_ptr<DeviceStages> stages;
    std::vector<Run::ResultHash> checked;  // what the checked step left in this process
    uint64_t operands = 0;                 // hash of the operands before the first step
    // The result with the same bits that an earlier run checked; null: there is none. Only the first process
    // knows it.
    const CheckedResult* known = nullptr;
    bool is_known = false;                 // there is one, as all processes know
    std::function<void()> step;            // the step as it is timed
    int64_t decoy_at = 0;                  // the sample before which the step on other operands is made
    double last_sample = 0;                // seconds
    std::vector<Burst> reads;              // of this process, each time that it emptied the caches
    std::vector<CpuSample> cpu_samples;    // of this process, also in warm-up and repeated rounds
    std::vector<SampleTime> sample_times;  // as many, agreed by all processes
  };

  // Returns true if this process has a device in the run's step.
  static bool takes_part(const Run& run) { return run.local_devices().size() > 0; }
  void prepare_point(LivePoint& live);
  std::vector<DevicePlace> placement_of(Run& run) const;
  void make_ready(LivePoint& live);
  void hold_operands(LivePoint& live);
  void hold_to_checked(LivePoint& live);
  void hold_cpus(LivePoint& live, const std::vector<bool>& counts);
  void describe(LivePoint& live);
  void step_on_other_operands(LivePoint& live);
  void step_untimed(LivePoint& live);
  void check_after_all(LivePoint& live);
  void before_sample(LivePoint& live);
  double agree(LivePoint& live, double elapsed);
  void after_sample(LivePoint& live);
  RunFactory& factory_of(const DistributionOptions& distribution);
  void check(LivePoint& live);
  std::vector<std::pair<std::string, double>> losses_of(const Run& run) const;
  void dump(const LivePoint& live, const CheckShare& share) const;
  std::string hash_of_processes(uint64_t own) const;
  CheckResult check_results(LivePoint& live, CheckMode mode, bool known);
  void gather_traces(const std::vector<ClockReading>& before, CommandResult* command);
  std::vector<std::string> entered_stages(const DeviceStages& stages) const;
  double fastest_read(const LivePoint& live) const;
  std::vector<double> cpu_seconds(const LivePoint& live, const std::vector<bool>& counts) const;
  void take_samples(LivePoint& live, std::vector<double> samples, const std::vector<bool>& counts);
  std::vector<WaitEntry> waits_of_step(const LivePoint& live) const;
  std::vector<DeviceSeconds> device_seconds(const LivePoint& live) const;

  const BenchOptions& options_;
  const Job& job_;
  Yardstick& yardstick_;
  Watcher watcher_;
  std::function<double()> clock_;
  // One factory for each routing that a distribution makes: `zipf:0.5` and `zipf:1.5` have one each.
  std::vector<std::pair<DistributionOptions, std::unique_ptr<RunFactory>>> factories_;
  // True if this process has memory for all caches of its node, false if it has only its share.
  bool cold_is_whole_ = true;
  std::unique_ptr<ColdMemory> cold_;
  const uint32_t check_seed_;
  std::vector<LivePoint> points_;
  double cpu_begin_ = 0, wall_begin_ = 0;  // of the running sample
  double longest_step_ = 0;
};

}  // namespace moehill

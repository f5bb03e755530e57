// Results are what a command found out about one point, and about all its points. docs/metrics.md defines the
// figures. Results live in memory only: measure/make_record.h makes records of them.
//
//     const PointResult& result = command.points[0];
//     if (result.trusted()) fmt::print("{:.1f} GF/s\n", model_flops_per_s(result) / 1e9);
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/comparison.h"
#include "moehill/measure/comm_bytes.h"
#include "moehill/measure/device_events.h"
#include "moehill/measure/overlap.h"
#include "moehill/measure/points.h"
#include "moehill/measure/wait_matrix.h"
#include "moehill/mesh/traffic.h"
#include "moehill/model/predict.h"
#include "moehill/parallel/moves.h"
#include "moehill/quiet/environment.h"
#include "moehill/quiet/placement.h"
#include "moehill/quiet/yardstick.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/statistics.h"

namespace moehill {

// DeviceSeconds is one device's step.
struct DeviceSeconds {
  std::vector<double> stages;  // [kNumStages]
  double wait = 0;             // the part of these in collectives, until its peers had come
  std::vector<double> hand_overs = std::vector<double>(kNumStages);  // of its team, by stage

  // Leaves out the stages in which the device exchanges rows, because there it waits for the slowest device.
  double busy() const;
};

// PointResult is everything that was found out about one point.
struct PointResult {
  Point point;
  std::vector<std::string> timed_region;                  // stages inside of the clock, in order
  std::vector<double> samples;                            // seconds by round; empty: not timed
  std::vector<double> cpu_seconds;                        // of a step, by process
  std::vector<std::vector<DeviceSeconds>> stage_samples;  // [round][device]; empty: not asked for
  std::vector<std::vector<WaitEntry>> wait_samples;       // [round]; empty: not asked for
  std::vector<StepEvents> events;                         // of the last steps, if asked for
  std::vector<DeviceWork> work;                           // by device, if asked for
  std::vector<int64_t> pair_rows;                         // [P, P] as in PlanCounts, if asked for
  RunStatistics runs;
  LoadStatistics load;
  std::vector<SkewProperty> skew;  // what a skewed distribution promises
  double expert_max_over_mean = 0, device_max_over_mean = 0;
  int64_t capacity_rows = 0, num_dropped = 0, num_spilled = 0, num_unassigned = 0;
  int64_t num_zero = 0;  // choices of zero experts
  // The first two are the maximum over devices divided by the mean: of rows received, and of assignments
  // computed. The last is the rows of the largest receive buffer divided by the mean of rows received. 0 with
  // one device.
  double recv_factor = 0, assign_factor = 0, recv_buffer_factor = 0;
  std::vector<std::pair<std::string, double>> losses;  // of a balance loss, as in loss_values()
  double executed_flops = 0;
  std::vector<Traffic> traffic;                   // of one step, by device
  std::array<uint64_t, kNumMoves> moved_bytes{};  // of one step, all devices together
  int64_t lower_bound_bytes = 0;
  Nodes nodes;  // of the devices
  LevelBytes logical_bytes;
  // Bytes that a step has to read from memory: the weights of the experts that have rows, and x.
  double operand_bytes = 0;
  // B/s: the fastest reading of other memory, by all processes together, while the caches were emptied before
  // a step. Known on the first process.
  double read_before_steps = 0;
  std::optional<Overlap> overlap;  // if it was asked for
  std::vector<PointResult> arms;   // the same point with stages left out (ablation_arms.h)
  CheckResult check;
  std::optional<Prediction> prediction;  // if there is a probe of this machine
  uint64_t plan_hash = 0, output_hash = 0;
  // These hashes are the ones of RecordedHashes. Only the first process has them.
  std::string operands_hash, results_hash, other_results_hash;
  std::vector<DevicePlace> placement;
  Peaks peaks;  // of the threads that this point uses

  // Returns the peak of the point's own dtype.
  const InstructionPeak& peak() const { return peaks.of(point.config.shape.dtype); }
  bool timed() const { return !samples.empty(); }
  // Only a point that was timed, left nothing out and passed the check has a throughput.
  bool trusted() const {
    return timed() && check.status == CheckStatus::passed && point.config.block.ablation.empty();
  }
};

// Returns the words for how each timed step is compared with the checked one.
inline const char* timed_step_words(const CheckResult& check) {
  return check.same_bits_as.empty()
             ? "every bit of every result equals the checked step's; "
               "a step among them on other tokens and weights was checked, too"
             : "every bit of every result equals the first step's, whose bits an earlier run checked; "
               "a step among them on other tokens and weights left bits that it checked, too";
}

// The reason that the check of an ablated step gives.
inline constexpr const char* kAblated = "not checked: ablated";

// CommandResult is everything that was found out in one command.
struct CommandResult {
  std::string command = "bench";
  std::string time_utc;
  uint64_t process_id = 0;  // of this run of the program
  double started_s = 0;     // Unix time when measuring began
  Environment environment;
  std::string stop_reason;
  int interrupted_by = 0;    // the signal that interrupted it; 0: none
  int64_t num_repeated = 0;  // rounds that were repeated because a process was held up
  std::string cache_state;   // the state in which every step begins, in words
  // Tells in words which other work disturbed the points while they were timed; empty: none.
  std::string disturbance;
  double clock_uncertainty = 0;  // seconds, of the processes' clocks in the events
  std::vector<std::vector<int>> order;
  std::vector<double> predicted_bytes, peak_rss_bytes;  // of memory, by rank
  std::vector<PointResult> points;
};

// Returns lines about rounds that are missing or were repeated, and about disturbances; empty if there were
// none.
std::string schedule_lines(const CommandResult& command);

// Moves the points of single parts out of the list and notes the overlap at their points instead.
void take_overlaps(CommandResult& command);

// These are the figures of a timed point (docs/metrics.md): FLOP/s by the model's FLOPs without dropped
// assignments; FLOP/s by what was executed; tokens/s; the share of dropped assignments; tokens/s times the
// share that was not dropped. Assignments without an expert cannot be dropped, so they do not count.
double model_flops_per_s(const PointResult& result);
double executed_flops_per_s(const PointResult& result);
double tokens_per_s(const PointResult& result);
double drop_fraction(const PointResult& result);
double drop_adjusted_tokens_per_s(const PointResult& result);
double peak_fraction(const PointResult& result);

// Returns why no machine with these peaks can have such samples; empty if one can. It judges the second
// smallest sample, or the median if there are fewer than five. That one is impossible if its FLOP/s exceed
// kMostOfPeak times the peak of its type's own instruction. It is also impossible if its operands (less
// `cache_bytes`, which the caches may hold) were read faster than kMostOfRead times the fastest pass of the
// read bandwidth. The second margin is wider because the bandwidth of a shared machine changes from moment to
// moment. A step is impossible, too, if it executes fewer FLOPs than the model has, or moves fewer bytes than
// any path can. Only the first process knows all of a result, so only it may ask.
inline constexpr double kMostOfPeak = 1.05, kMostOfRead = 1.25;
std::string impossible_figure(const PointResult& result, double cache_bytes);

inline constexpr double kMostUnaccounted = 0.05;  // share of a step

// StageSeconds describes the step whose time is nearest to the median: the time itself, the stages of the
// device for which the others waited, the part of the time that is in none of these stages, and all devices.
struct StageSeconds {
  std::vector<double> seconds;     // [kNumStages]
  std::vector<double> hand_overs;  // [kNumStages]
  double step = 0;
  double unaccounted = 0;
  // Returns true if more than 5 % of the step is in no stage.
  bool too_much_unaccounted() const { return unaccounted > kMostUnaccounted * step; }
  size_t slowest = 0;
  double busy_max_over_mean = 1;  // over the devices
  std::vector<DeviceSeconds> devices;
  std::vector<WaitEntry> waits;
};
StageSeconds stages_of_median(const PointResult& result);

// Comparison is a `none` point and the `ep` or `dp` point that differs from it in nothing else, with the
// ratio of their speeds, ep over none. Each `ep` has one `none`, that with the most equal values of -L.
struct Comparison {
  size_t none, ep;  // indices of points
  Ratio ratio;
};
std::vector<Comparison> compare_modes(const std::vector<PointResult>& points, uint32_t seed);

// Compares each fused_ep of `profile` with the other paths of the same top-k; `none` is then the other path.
std::vector<Comparison> compare_paths(const std::vector<PointResult>& points, uint32_t seed);

// Returns "; the medians order the other way" if the medians of the two points do, otherwise nothing.
std::string disagreement_text(const Comparison& comparison, const std::vector<PointResult>& points);

}  // namespace moehill

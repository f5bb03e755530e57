// Results: what was found out about one point, and about the command as a whole.
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

// One device's step.
struct DeviceSeconds {
  std::vector<double> stages;  // [kNumStages]
  double wait = 0;             // of these in collectives, until its peers had come
  std::vector<double> hand_overs = std::vector<double>(kNumStages);  // of its team

  double busy() const;  // without the stages in which it exchanges rows, where it waits for the slowest
};

struct PointResult {
  Point point;
  std::vector<std::string> timed_region;                  // stages inside the clock, in order
  std::vector<double> samples;                            // seconds per round; empty: not timed
  std::vector<double> cpu_seconds;                        // of a step, by process
  std::vector<std::vector<DeviceSeconds>> stage_samples;  // [round][device]; empty: not asked for
  std::vector<std::vector<WaitEntry>> wait_samples;       // [round]; empty: not asked for
  std::vector<StepEvents> events;                         // of the last steps, when asked for
  std::vector<DeviceWork> work;                           // by device, when asked for
  std::vector<int64_t> pair_rows;                         // [P, P] as PlanCounts has them, when asked for
  RunStatistics runs;
  LoadStatistics load;
  std::vector<SkewProperty> skew;  // what a skewed distribution promises
  double expert_max_over_mean = 0, device_max_over_mean = 0;
  int64_t capacity_rows = 0, num_dropped = 0, num_spilled = 0, num_unassigned = 0;
  int64_t num_zero = 0;  // choices of zero experts
  // Rows that the device with most receives, and assignments that it computes, over the mean: what a buffer
  // needs for them; and rows that the largest buffer for received rows has. 0 on one device.
  double recv_factor = 0, assign_factor = 0, recv_buffer_factor = 0;
  std::vector<std::pair<std::string, double>> losses;  // of a balance loss, as loss_values() has them
  double executed_flops = 0;
  std::vector<Traffic> traffic;                   // of one step, per device
  std::array<uint64_t, kNumMoves> moved_bytes{};  // of one step, all devices
  int64_t lower_bound_bytes = 0;
  Nodes nodes;  // of the devices
  LevelBytes logical_bytes;
  // Bytes that a step must read from memory: the weights of the experts that have rows, and x.
  double operand_bytes = 0;
  // B/s: the fastest that the caches were emptied before a step by reading other memory. The sum over the
  // processes of each one's own, so it is never too low.
  double read_before_steps = 0;
  std::optional<Overlap> overlap;  // where it was asked for
  std::vector<PointResult> arms;   // the same point with stages left out (ablation_arms.h)
  CheckResult check;
  std::optional<Prediction> prediction;  // where there is a probe of this machine
  uint64_t plan_hash = 0, output_hash = 0;
  std::vector<DevicePlace> placement;
  Peaks peaks;  // of the threads that this point uses

  // The peak of the point's own dtype.
  const InstructionPeak& peak() const { return peaks.of(point.config.shape.dtype); }
  bool timed() const { return !samples.empty(); }
  // A figure of throughput exists only for what was timed, left nothing out, and has passed the check.
  bool trusted() const {
    return timed() && check.status == CheckStatus::passed && point.config.block.ablation.empty();
  }
};

// Tells in a record how each timed step is held to the checked one.
inline constexpr const char* kTimedStepCheck =
    "every bit of every result equals the checked step's; a step among them on other tokens was checked, too";

// Is the reason that the check of an ablated step gives.
inline constexpr const char* kAblated = "not checked: ablated";

struct CommandResult {
  std::string command = "bench";
  std::string time_utc;
  uint64_t process_id = 0;  // of this run of the program alone
  double started_s = 0;     // Unix time when measuring began
  Environment environment;
  std::string stop_reason;
  int interrupted_by = 0;        // the signal that ended timing, or 0
  int64_t num_repeated = 0;      // rounds that were repeated, since a process was held up in them
  std::string cache_state;       // in which every step begins, in words
  std::string disturbance;       // by other work while the points were timed, in words; empty: none
  double clock_uncertainty = 0;  // seconds, of the processes' clocks in the events
  std::vector<std::vector<int>> order;
  std::vector<double> predicted_bytes, peak_rss_bytes;  // of memory, by rank
  std::vector<PointResult> points;
};

// Tells of rounds that are missing or were repeated; empty where there are none.
std::string schedule_lines(const CommandResult& command);

// Takes the points of parts alone out and notes their points' overlap instead.
void take_overlaps(CommandResult& command);

// Figures of a timed point (docs/metrics.md). FLOP/s by the model's FLOPs, less dropped assignments; by what
// was executed; tokens/s, and these times the share of the assignments that the capacity leaves. Assignments
// of nobody are none that could be dropped.
double model_flops_per_s(const PointResult& result);
double executed_flops_per_s(const PointResult& result);
double tokens_per_s(const PointResult& result);
double drop_fraction(const PointResult& result);
double drop_adjusted_tokens_per_s(const PointResult& result);
double peak_fraction(const PointResult& result);

// Says why no machine with these peaks can have taken the median; empty where it can. A figure is impossible
// with more FLOP/s than kMostOfPeak of the type's own instruction peak, or with operands, but for
// `cache_bytes` of them, read faster than kMostOfRead of the fastest pass of the read bandwidth, which on a
// shared machine is higher at one moment than at another.
inline constexpr double kMostOfPeak = 1.05, kMostOfRead = 1.25;
std::string impossible_figure(const PointResult& result, double cache_bytes);

inline constexpr double kMostUnaccounted = 0.05;  // of a step

// The step that is nearest to the median: its own time, the stages of the device that the others waited for,
// what they leave of that time, and all devices.
struct StageSeconds {
  std::vector<double> seconds;     // [kNumStages]
  std::vector<double> hand_overs;  // [kNumStages]
  double step = 0;
  double unaccounted = 0;
  // True if more than 5 % of the step is time that no stage explains.
  bool too_much_unaccounted() const { return unaccounted > kMostUnaccounted * step; }
  size_t slowest = 0;
  double busy_max_over_mean = 1;  // over the devices
  std::vector<DeviceSeconds> devices;
  std::vector<WaitEntry> waits;
};
StageSeconds stages_of_median(const PointResult& result);

// A none and the ep that differs from it in nothing else, with their ratio of speeds, ep to none.
struct Comparison {
  size_t none, ep;  // indices of points
  Ratio ratio;
};
std::vector<Comparison> compare_modes(const std::vector<PointResult>& points, uint32_t seed);

// Compares each fused_ep of `profile` with the other paths of the same top-k; `none` is the other path.
std::vector<Comparison> compare_paths(const std::vector<PointResult>& points, uint32_t seed);

// "; the medians order the other way" where those of the two points do.
std::string disagreement_text(const Comparison& comparison, const std::vector<PointResult>& points);

}  // namespace moehill

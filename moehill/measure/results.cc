// Implementation of measure/results.h: figures that follow from the samples of a point. Each formula is here
// once; records and tables only show it.
#include "moehill/measure/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/table.h"
#include "moehill/machine/interruption.h"

namespace moehill {
namespace {

double median_seconds(const PointResult& result) { return median_of(result.samples); }

double total(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// Assignments that were dropped, have no expert or go to zero experts are not computed, so their FLOPs do not
// count.
double model_flops_of(const PointResult& result) {
  const RunConfig& config = result.point.config;
  const int64_t computed =
      config.shape.assignments() - result.num_dropped - result.num_unassigned - result.num_zero;
  const double router = config.block.router_product ? router_flops(config.shape, config.block.pass) : 0;
  return model_flops(config.shape, config.block.pass, computed) + router;
}

// Returns the time by which a speed is judged: the second smallest sample. If fewer than half of the steps
// skipped their work, the median would not show it. The smallest sample may be a slip of the clock. Of fewer
// than five samples two are about a half, so there the median is as good.
double judged_seconds(const PointResult& result) {
  constexpr size_t kLeastSamples = 5;
  std::vector<double> samples = result.samples;
  if (samples.size() < kLeastSamples) return median_seconds(result);
  std::nth_element(samples.begin(), samples.begin() + 1, samples.end());
  return samples[1];
}

// Returns the fewest bytes of rows and gradients that a step can move. The lower bound counts all rows as
// they are stored. Here the half of them that goes out may be in the wire's form, as between nodes.
double fewest_bytes(const PointResult& result) {
  const RunConfig& config = result.point.config;
  const auto row_bytes = [&](Wire wire) {
    return static_cast<double>(wire_row_bytes(wire, config.shape.expert_hidden(), config.shape.dtype));
  };
  const double stored = row_bytes(Wire::native), out = std::min(stored, row_bytes(config.wire));
  return static_cast<double>(result.lower_bound_bytes) * (out + stored) / (2 * stored);
}

// Returns why a path cannot have counted its FLOPs or its bytes right; empty if it may have. No right step is
// refused. A whole step makes every product of the model, and padding, masked rows and recomputation only add
// to them. A whole step also moves every row to its experts and back (measure/comm_bytes.h), even if its plan
// was made before the clock started. Both counts are sums of integers, so two equal counts differ by less
// than the share kRounding.
std::string miscounted(const PointResult& result) {
  constexpr double kRounding = 1e-9;
  const double model = model_flops_of(result), executed = result.executed_flops;
  if (executed < model * (1 - kRounding)) {
    return fmt::format("a step's path counts {:.6g} GFLOP of work, and the block alone needs {:.6g}",
                       executed / 1e9, model / 1e9);
  }
  double moved = 0;
  for (const Move move : {Move::dispatch, Move::combine, Move::gradients})
    moved += static_cast<double>(result.moved_bytes[static_cast<size_t>(move)]);
  const double least = fewest_bytes(result);
  if (moved >= least * (1 - kRounding)) return "";
  return fmt::format(
      "a step's path counts {:.6g} MB of rows and gradients that moved, and no path needs less "
      "than {:.6g}",
      moved / 1e6, least / 1e6);
}

// Returns why the FLOP/s cannot be true. miscounted() comes before it, so what was executed is at least what
// the model counts. A burst of the peak keeps every unit busy and a step does not, so no right step comes
// near the limit, however long it takes.
std::string above_peak(const PointResult& result) {
  const double flops = result.executed_flops / judged_seconds(result), peak = result.peak().best;
  if (peak <= 0 || flops <= kMostOfPeak * peak) return "";
  return fmt::format("{:.4g} GF/s is more than {:.0f} % of the {:.4g} GF/s that {} reaches on its cores",
                     flops / 1e9, 100 * kMostOfPeak, peak / 1e9, result.peak().instruction);
}

// Returns why the operands cannot have been read in that time. The caches may hold data read before the clock
// started, so only the rest must come from memory. Memory that is faster at one moment than at another shows
// in the passes too, because one is made right before each step.
std::string above_memory(const PointResult& result, double cache_bytes) {
  const double read = std::max(result.peaks.read.max, result.read_before_steps);
  const double rate = (result.operand_bytes - cache_bytes) / judged_seconds(result);
  if (read <= 0 || rate <= kMostOfRead * read) return "";
  return fmt::format("its operands were read at {:.4g} GB/s, more than {:.0f} % of the {:.4g} GB/s of memory",
                     rate / 1e9, 100 * kMostOfRead, read / 1e9);
}

}  // namespace

// Returns the seconds of work: all stages except those in which devices exchange rows or sums.
double DeviceSeconds::busy() const {
  double seconds = total(stages);
  for (const Stage stage : {Stage::dispatch, Stage::reduce, Stage::dispatch_grad, Stage::reduce_grad})
    seconds -= stages[static_cast<size_t>(stage)];
  return seconds;
}

// The points of single parts follow their point, in the order in which with_parts() put them.
void take_overlaps(CommandResult& command) {
  std::vector<PointResult> points;
  for (size_t i = 0; i < command.points.size(); ++i) {
    PointResult& result = command.points[i];
    if (result.point.config.block.part != StepPart::whole) continue;
    points.push_back(std::move(result));
    if (i + 2 >= command.points.size() || command.points[i + 1].point.config.block.part == StepPart::whole)
      continue;
    const std::vector<double>&computation = command.points[i + 1].samples,
          &communication = command.points[i + 2].samples;
    if (points.back().timed() && !computation.empty() && !communication.empty())
      points.back().overlap = overlap_of(computation, communication, points.back().samples);
  }
  command.points = std::move(points);
}

double model_flops_per_s(const PointResult& result) {
  return model_flops_of(result) / median_seconds(result);
}

double executed_flops_per_s(const PointResult& result) {
  return result.executed_flops / median_seconds(result);
}

double tokens_per_s(const PointResult& result) {
  return static_cast<double>(result.point.config.shape.tokens) / median_seconds(result);
}

double drop_fraction(const PointResult& result) {
  const int64_t asked = result.point.config.shape.assignments() - result.num_unassigned - result.num_zero;
  return asked > 0 ? static_cast<double>(result.num_dropped) / static_cast<double>(asked) : 0;
}

double drop_adjusted_tokens_per_s(const PointResult& result) {
  return tokens_per_s(result) * (1 - drop_fraction(result));
}

double peak_fraction(const PointResult& result) { return executed_flops_per_s(result) / result.peak().best; }

// A result may be right and its time wrong, for example if a step was skipped.
std::string impossible_figure(const PointResult& result, double cache_bytes) {
  if (!result.trusted()) return "";
  for (const std::string& why : {miscounted(result), above_peak(result), above_memory(result, cache_bytes)}) {
    if (!why.empty()) return why;
  }
  return "";
}

StageSeconds stages_of_median(const PointResult& result) {
  const double median = median_seconds(result);
  // The stages come from one real step, the one nearest to the median. Medians of stages would not add up to
  // a step.
  size_t nearest = 0;
  for (size_t i = 1; i < result.samples.size(); ++i) {
    if (std::abs(result.samples[i] - median) < std::abs(result.samples[nearest] - median)) nearest = i;
  }
  StageSeconds stages;
  stages.devices = result.stage_samples[nearest];
  if (!result.wait_samples.empty()) stages.waits = result.wait_samples[nearest];
  double sum = 0;
  // The slowest device is the one with the most work; the others wait for it.
  for (size_t i = 0; i < stages.devices.size(); ++i) {
    sum += stages.devices[i].busy();
    if (stages.devices[i].busy() > stages.devices[stages.slowest].busy()) stages.slowest = i;
  }
  const DeviceSeconds& slowest = stages.devices[stages.slowest];
  if (sum > 0) stages.busy_max_over_mean = slowest.busy() * static_cast<double>(stages.devices.size()) / sum;
  stages.seconds = slowest.stages;
  stages.hand_overs = slowest.hand_overs;
  stages.step = result.samples[nearest];
  stages.unaccounted = stages.step - total(stages.seconds);
  return stages;
}

namespace {

// Compares the speeds of all trusted points (i, j) with is_pair(i, j).
template <typename IsPair>
std::vector<Comparison> compare_pairs(const std::vector<PointResult>& points, uint32_t seed,
                                      const IsPair& is_pair) {
  std::vector<Comparison> comparisons;
  for (size_t i = 0; i < points.size(); ++i) {
    for (size_t j = 0; j < points.size(); ++j) {
      const PointResult &a = points[i], &b = points[j];
      if (i == j || !is_pair(a.point, b.point) || !a.trusted() || !b.trusted()) continue;
      comparisons.push_back({i, j, speed_ratio(a.samples, b.samples, seed)});
    }
  }
  return comparisons;
}

// Returns the trusted `none` of ep's problem that shares the most values of -L with it, of equals the first.
// There are several if -L names options that only expert parallelism has.
const Point* nearest_none(const std::vector<PointResult>& points, const Point& ep) {
  const Point* nearest = nullptr;
  std::ptrdiff_t most = 0;
  for (const PointResult& result : points) {
    const Point& none = result.point;
    if (none.config.spread != Spread::none || !result.trusted() || !differ_in_mode_only(none, ep)) continue;
    const std::ptrdiff_t shared = std::count_if(none.axes.begin(), none.axes.end(), [&](const auto& axis) {
      return std::find(ep.axes.begin(), ep.axes.end(), axis) != ep.axes.end();
    });
    if (nearest != nullptr && shared <= most) continue;
    nearest = &none;
    most = shared;
  }
  return nearest;
}

}  // namespace

std::vector<Comparison> compare_modes(const std::vector<PointResult>& points, uint32_t seed) {
  return compare_pairs(points, seed, [&](const Point& none, const Point& ep) {
    return none.config.spread == Spread::none && differ_in_mode_only(none, ep) &&
           nearest_none(points, ep) == &none;
  });
}

std::vector<Comparison> compare_paths(const std::vector<PointResult>& points, uint32_t seed) {
  return compare_pairs(points, seed, [](const Point& other, const Point& fused) {
    return fused.path == ProfilePath::fused_ep && other.path != ProfilePath::none &&
           other.config.shape == fused.config.shape;
  });
}

std::string disagreement_text(const Comparison& comparison, const std::vector<PointResult>& points) {
  return disagreement_text(comparison.ratio, median_seconds(points[comparison.none]),
                           median_seconds(points[comparison.ep]));
}

std::string schedule_lines(const CommandResult& command) {
  std::string text;
  if (command.num_repeated > 0)
    text += count_text(command.num_repeated, "round was", "rounds were") +
            " repeated: the program was held up meanwhile, stopped or without its CPUs\n";
  if (!command.disturbance.empty())
    text += fmt::format("disturbed: {}; figures are of a shared machine\n", command.disturbance);
  if (command.interrupted_by != 0)
    text += fmt::format("interrupted by {}: the figures are of the {} before\n",
                        signal_name(command.interrupted_by), count_text(std::ssize(command.order), "round"));
  return text;
}

}  // namespace moehill

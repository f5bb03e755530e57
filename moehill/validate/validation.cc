// Implementation of validate/validation.h: the corpus of random shapes, its runs, and the figures of the
// model's error.
#include "moehill/validate/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/json_fields.h"
#include "moehill/base/rng.h"
#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/machine/topology.h"
#include "moehill/measure/results.h"
#include "moehill/measure/step_timer.h"
#include "moehill/predict/prediction.h"

namespace moehill {
namespace {

constexpr uint32_t kCorpusSeed = 20260209;  // draws the shapes of every corpus
constexpr size_t kRounds = 31;
constexpr double kPatience_s = 1;  // for a shape, waiting for cores that other work takes

// Returns "1 node x 2 devices x 1 thread": the shapes run in one process.
std::string layout_here(const RunConfig& config) {
  return fmt::format("1 node x {}", layout_words(config.num_devices, config.threads_per_device));
}

std::vector<RunConfig> spreads_of(const MoeShape& shape, int num_cores) {
  std::vector<RunConfig> configs;
  RunConfig config{.shape = shape};
  config.threads_per_device = num_cores;
  configs.push_back(config);
  if (num_cores == 1) return configs;
  config.num_devices = num_cores;
  config.threads_per_device = 1;
  config.spread = Spread::dp;
  configs.push_back(config);
  for (const Spread path : kEpPaths) {
    config.spread = path;
    configs.push_back(config);
  }
  return configs;
}

// Returns the stages of the device with the most work outside of the collectives.
const std::vector<double>& busiest(const std::vector<std::vector<double>>& devices) {
  const auto busy = [](const std::vector<double>& stages) { return DeviceSeconds{stages}.busy(); };
  return *std::ranges::max_element(devices, {}, busy);
}

// Returns the round whose time is the median. The stages of one round add up to its time; medians of stages
// would not.
size_t median_round(const std::vector<double>& step_s) {
  std::vector<size_t> order(step_s.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(order.size() / 2);
  std::nth_element(order.begin(), middle, order.end(),
                   [&](size_t a, size_t b) { return step_s[a] < step_s[b]; });
  return *middle;
}

// Returns the median of every second round.
double half_s(const std::vector<double>& step_s, size_t first_round) {
  std::vector<double> half;
  for (size_t round = first_round; round < step_s.size(); round += 2) half.push_back(step_s[round]);
  return median_of(half);
}

ValidatedShape run_shape(const MoeShape& shape, uint32_t corpus, const std::vector<RunConfig>& configs,
                         const Expect& expect, const Cores& cores) {
  RunFactory factory({}, kCorpusSeed + corpus, cores.cpus);
  ValidatedShape result{shape, {}};
  std::vector<StepTimer> timers;
  for (const RunConfig& config : configs) timers.emplace_back(factory.make(config), kRounds);
  time_in_turn(timers, cores);
  for (const StepTimer& timer : timers) {
    const Expected expected = expect(timer.run().config(), timer.run().routing());
    const size_t median = median_round(timer.step_s);
    result.spreads.push_back({timer.run().config(),
                              expected.seconds,
                              timer.step_s[median],
                              expected.stages,
                              busiest(timer.stage_s[median]),
                              {half_s(timer.step_s, 0), half_s(timer.step_s, 1)}});
  }
  return result;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  // The percentile is taken by the nearest rank.
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

// Returns true if the spread that is fastest by `pick_by` is within 3 % of the fastest by `judge_by`.
template <typename PickBy, typename JudgeBy>
bool is_good_pick(const std::vector<ValidatedSpread>& spreads, PickBy pick_by, JudgeBy judge_by) {
  const auto pick = std::ranges::min_element(spreads, {}, pick_by);
  const auto best = std::ranges::min_element(spreads, {}, judge_by);
  return judge_by(*pick) <= 1.03 * judge_by(*best);
}

}  // namespace

MoeShape validation_shape(int i, uint32_t corpus) {
  uint64_t index = static_cast<uint64_t>(i) * 16;
  const auto pick = [&](std::initializer_list<int64_t> values) {
    const double u = random_uniform(kCorpusSeed + corpus, Stream::kSampleRows, index++);
    return *(values.begin() + static_cast<int64_t>(u * static_cast<double>(values.size())));
  };
  MoeShape shape;
  shape.hidden = pick({256, 384, 512, 640, 1024, 1536});
  shape.mlp_dim = pick({128, 192, 320, 512, 768});
  shape.experts = static_cast<int>(pick({4, 8, 16, 32, 64}));
  shape.topk = static_cast<int>(std::min<int64_t>(pick({1, 2, 4, 8}), shape.experts));
  shape.shared_dim = pick({0, 0, 256, 512});
  shape.dtype = pick({0, 1, 1}) == 0 ? DType::f32 : DType::bf16;
  // The size is drawn on a logarithmic scale, and the tokens follow from it.
  const double flops = 1e9 * std::pow(8.0, random_uniform(kCorpusSeed + corpus, Stream::kSampleRows, index));
  shape.tokens = 1;
  const double per_token = model_flops(shape, Pass::forward_backward, shape.topk);
  shape.tokens = std::clamp<int64_t>(static_cast<int64_t>(flops / per_token), 16, 4096);
  return shape;
}

std::vector<ValidatedShape> run_shapes(int num_shapes, uint32_t corpus, const SpreadsOf& spreads,
                                       const Expect& expect, const ShapeDone& done) {
  const Topology topology = detect_topology();
  CoreWatch watch(topology.core_cpus, kPatience_s * num_shapes);
  ColdCores cold(topology);
  std::vector<ValidatedShape> shapes;
  for (int i = 0; i < num_shapes; ++i) {
    const MoeShape shape = validation_shape(i, corpus);
    shapes.push_back(run_shape(shape, corpus, spreads(shape), expect, {topology.core_cpus, watch, cold}));
    if (done && done()) break;
  }
  return shapes;
}

std::vector<ValidatedShape> validate_model(int num_shapes, uint32_t corpus, const Hardware& hardware,
                                           const ShapeDone& done) {
  const int num_cores = static_cast<int>(core_cpus().size());
  return run_shapes(
      num_shapes, corpus, [&](const MoeShape& shape) { return spreads_of(shape, num_cores); },
      [&](const RunConfig& config, const Routing& routing) {
        const Prediction prediction = predict_run(config, routing, hardware);
        return Expected{prediction.time_s, prediction.stages};
      },
      done);
}

ValidationFigures validation_figures(const std::vector<ValidatedShape>& shapes) {
  std::vector<double> errors;
  int good_picks = 0, good_measured_picks = 0;
  for (const ValidatedShape& shape : shapes) {
    for (const ValidatedSpread& spread : shape.spreads) errors.push_back(std::abs(spread.error()));
    const auto predicted = [](const ValidatedSpread& spread) { return spread.predicted_s; };
    const auto measured = [](const ValidatedSpread& spread) { return spread.measured_s; };
    good_picks += is_good_pick(shape.spreads, predicted, measured) ? 1 : 0;
    for (const size_t half : {0, 1}) {
      const auto here = [half](const ValidatedSpread& spread) { return spread.half_s[half]; };
      const auto there = [half](const ValidatedSpread& spread) { return spread.half_s[1 - half]; };
      good_measured_picks += is_good_pick(shape.spreads, here, there) ? 1 : 0;
    }
  }
  const double num_shapes = static_cast<double>(shapes.size());
  return {percentile(errors, 0.5),         percentile(errors, 0.9),
          good_picks / num_shapes,         good_measured_picks / (2 * num_shapes),
          static_cast<int>(errors.size()), static_cast<int>(shapes.size())};
}

std::string validation_report(const std::vector<ValidatedShape>& shapes) {
  std::vector<std::vector<std::string>> rows;
  for (const ValidatedShape& shape : shapes) {
    for (const ValidatedSpread& spread : shape.spreads) {
      rows.push_back({to_string(shape.shape), name_of(spread.config.spread), layout_here(spread.config),
                      fmt::format("{:.2f}", 1e3 * spread.predicted_s),
                      fmt::format("{:.2f}", 1e3 * spread.measured_s),
                      fmt::format("{:+.1f}", 100 * spread.error())});
    }
  }
  const ValidationFigures f = validation_figures(shapes);
  return format_table({"shape", "spread", "layout", "predicted ms", "measured ms", "error %"}, rows) +
         fmt::format(
             "{} by spreads: median error {:.1f} %, 90th percentile {:.1f} %\n"
             "the spread picked is within 3 % of the best in {:.0f} % of {}; one picked by half of the "
             "rounds is within 3 % of the other half's best in {:.0f} %\n",
             count_text(f.num_spreads, "shape"), 100 * f.median_error, 100 * f.p90_error,
             100 * f.picks_within_3_percent, count_text(f.num_shapes, "shape"),
             100 * f.measured_picks_within_3_percent);
}

std::string validation_records(const std::vector<ValidatedShape>& shapes, uint32_t corpus,
                               const std::string& hardware) {
  std::string lines;
  for (const ValidatedShape& shape : shapes) {
    for (const ValidatedSpread& spread : shape.spreads) {
      Json stages = Json::object();
      for (const StagePrediction& stage : spread.predicted_stages)
        stages[name_of(stage.stage)]["predicted_s"] = stage.seconds();
      for (size_t i = 0; i < spread.measured_stages.size(); ++i) {
        if (spread.measured_stages[i] > 0)
          stages[name_of(static_cast<Stage>(i))]["measured_s"] = spread.measured_stages[i];
      }
      const Json record = {{"schema", "moehill/1"},
                           {"command", "predict"},
                           {"hardware", hardware},
                           {"corpus", corpus},
                           {"shape", to_string(shape.shape)},
                           {"spread", name_of(spread.config.spread)},
                           {"nodes", 1},
                           {"devices", spread.config.num_devices},
                           {"units_per_device", spread.config.threads_per_device},
                           {"time_s", spread.predicted_s},
                           {"measured_s", spread.measured_s},
                           {"stages", stages}};
      lines += json_line(record);
    }
  }
  return lines;
}

}  // namespace moehill

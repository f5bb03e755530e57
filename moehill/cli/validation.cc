// The corpus of random shapes, its runs, and the figures of the model's error.
#include "moehill/cli/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "moehill/base/rng.h"
#include "moehill/bench/statistics.h"
#include "moehill/cli/core_watch.h"
#include "moehill/cli/prediction.h"
#include "moehill/cli/results.h"
#include "moehill/cli/stage_listener.h"
#include "moehill/cli/table.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/topology.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {
namespace {

constexpr uint32_t kCorpusSeed = 20260209;
constexpr int kRounds = 12;
constexpr double kPatience_s = 1;  // of a shape, with cores that other work takes

std::vector<RunConfig> spreads_of(const MoeShape& shape, int num_cores) {
  std::vector<RunConfig> configs;
  RunConfig config{.shape = shape};
  config.threads_per_device = num_cores;
  configs.push_back(config);
  if (num_cores == 1) return configs;
  config.num_devices = num_cores;
  config.threads_per_device = 1;
  config.mode = ParallelMode::dp;
  configs.push_back(config);
  config.mode = ParallelMode::ep;
  for (const EpPath path :
       {EpPath::compact_psum, EpPath::dense_masked, EpPath::ring_ag_rs, EpPath::ragged_a2a, EpPath::fused}) {
    config.path = path;
    configs.push_back(config);
  }
  return configs;
}

// Stages of the device with the most work outside of the collectives.
std::vector<double> busiest(const DeviceStages& stages) {
  const auto busy = [&](size_t d) { return DeviceSeconds{stages.seconds(d)}.busy(); };
  size_t most = 0;
  for (size_t d = 1; d < stages.size(); ++d) {
    if (busy(d) > busy(most)) most = d;
  }
  return stages.seconds(most);
}

void time_spread(Run& run, bool counts, ValidatedSpread* spread) {
  DeviceStages stages(spread->config.num_devices, seconds);
  const double begin = seconds();
  run.step(stages.listeners());
  const double elapsed = seconds() - begin;
  if (!counts || elapsed >= spread->measured_s) return;
  spread->measured_s = elapsed;
  spread->measured_stages = busiest(stages);
}

ValidatedShape run_shape(const MoeShape& shape, uint32_t corpus, const std::vector<RunConfig>& configs,
                         const Expect& expect, const std::vector<int>& cpus, CoreWatch& watch) {
  RunFactory factory({}, kCorpusSeed + corpus, cpus);
  ValidatedShape result{shape, {}};
  std::vector<std::unique_ptr<Run>> runs;
  for (const RunConfig& config : configs) {
    runs.push_back(factory.make(config));
    const Expected expected = expect(config, runs.back()->routing());
    result.spreads.push_back(
        {config, expected.seconds, std::numeric_limits<double>::infinity(), expected.stages});
  }
  for (int round = -1; round < kRounds; ++round) {  // the first touches all memory
    for (size_t i = 0; i < runs.size(); ++i)
      watch.run([&] { time_spread(*runs[i], round >= 0, &result.spreads[i]); });
  }
  return result;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));  // nearest rank
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
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
  const double flops = 1e9 * std::pow(8.0, random_uniform(kCorpusSeed + corpus, Stream::kSampleRows, index));
  shape.tokens = 1;
  const double per_token = model_flops(shape, Pass::forward_backward, shape.topk);
  shape.tokens = std::clamp<int64_t>(static_cast<int64_t>(flops / per_token), 16, 4096);
  return shape;
}

std::vector<ValidatedShape> run_shapes(int num_shapes, uint32_t corpus, const SpreadsOf& spreads,
                                       const Expect& expect) {
  const std::vector<int> cpus = core_cpus();
  CoreWatch watch(cpus, kPatience_s * num_shapes);
  std::vector<ValidatedShape> shapes;
  for (int i = 0; i < num_shapes; ++i) {
    const MoeShape shape = validation_shape(i, corpus);
    shapes.push_back(run_shape(shape, corpus, spreads(shape), expect, cpus, watch));
  }
  return shapes;
}

std::vector<ValidatedShape> validate_model(int num_shapes, uint32_t corpus, const Hardware& hardware) {
  const int num_cores = static_cast<int>(core_cpus().size());
  return run_shapes(
      num_shapes, corpus, [&](const MoeShape& shape) { return spreads_of(shape, num_cores); },
      [&](const RunConfig& config, const Routing& routing) {
        const Prediction prediction = predict_run(config, routing, hardware);
        return Expected{prediction.time_s, prediction.stages};
      });
}

ValidationFigures validation_figures(const std::vector<ValidatedShape>& shapes) {
  std::vector<double> errors;
  int good_picks = 0;
  for (const ValidatedShape& shape : shapes) {
    const ValidatedSpread* pick = &shape.spreads.front();
    double best = std::numeric_limits<double>::infinity();
    for (const ValidatedSpread& spread : shape.spreads) {
      errors.push_back(std::abs(spread.error()));
      best = std::min(best, spread.measured_s);
      if (spread.predicted_s < pick->predicted_s) pick = &spread;
    }
    good_picks += pick->measured_s <= 1.03 * best ? 1 : 0;
  }
  return {percentile(errors, 0.5), percentile(errors, 0.9),
          static_cast<double>(good_picks) / static_cast<double>(shapes.size()),
          static_cast<int>(errors.size()), static_cast<int>(shapes.size())};
}

std::string validation_report(const std::vector<ValidatedShape>& shapes) {
  std::vector<std::vector<std::string>> rows;
  for (const ValidatedShape& shape : shapes) {
    for (const ValidatedSpread& spread : shape.spreads) {
      rows.push_back({to_string(shape.shape), name_of(spread_of(spread.config)),
                      fmt::format("{:.2f}", 1e3 * spread.predicted_s),
                      fmt::format("{:.2f}", 1e3 * spread.measured_s),
                      fmt::format("{:+.1f}", 100 * spread.error())});
    }
  }
  const ValidationFigures f = validation_figures(shapes);
  return format_table({"shape", "spread", "predicted ms", "measured ms", "error %"}, rows) +
         fmt::format(
             "{} shapes by spreads: median error {:.1f} %, 90th percentile {:.1f} %; the spread picked is "
             "within "
             "3 % of the best in {:.0f} % of {} shapes\n",
             f.num_spreads, 100 * f.median_error, 100 * f.p90_error, 100 * f.picks_within_3_percent,
             f.num_shapes);
}

std::string validation_records(const std::vector<ValidatedShape>& shapes, uint32_t corpus) {
  using Json = nlohmann::ordered_json;
  std::string lines;
  for (const ValidatedShape& shape : shapes) {
    for (const ValidatedSpread& spread : shape.spreads) {
      Json stages = Json::object();
      for (const StagePrediction& stage : spread.predicted_stages)
        stages[stage.stage]["predicted_s"] = stage.seconds();
      for (size_t i = 0; i < spread.measured_stages.size(); ++i) {
        if (spread.measured_stages[i] > 0)
          stages[name_of(static_cast<Stage>(i))]["measured_s"] = spread.measured_stages[i];
      }
      const Json record = {{"schema", "moehill/1"},
                           {"command", "predict"},
                           {"corpus", corpus},
                           {"shape", to_string(shape.shape)},
                           {"spread", name_of(spread_of(spread.config))},
                           {"devices", spread.config.num_devices},
                           {"units_per_device", spread.config.threads_per_device},
                           {"time_s", spread.predicted_s},
                           {"measured_s", spread.measured_s},
                           {"stages", stages}};
      lines += record.dump() + "\n";
    }
  }
  return lines;
}

}  // namespace moehill

// The corpus of random shapes, its runs, and the figures of the model's error.
#include "moehill/cli/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/rng.h"
#include "moehill/bench/statistics.h"
#include "moehill/cli/prediction.h"
#include "moehill/cli/table.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/topology.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {
namespace {

constexpr uint32_t kCorpusSeed = 20260209;
constexpr int kRounds = 4;

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
       {EpPath::compact_psum, EpPath::dense_masked, EpPath::ring_ag_rs, EpPath::ragged_a2a}) {
    config.path = path;
    configs.push_back(config);
  }
  return configs;
}

ValidatedShape validate_shape(const MoeShape& shape, const Hardware& hardware, const std::vector<int>& cpus) {
  RunFactory factory({}, kCorpusSeed, cpus);
  ValidatedShape result{shape, {}};
  std::vector<std::unique_ptr<Run>> runs;
  for (const RunConfig& config : spreads_of(shape, static_cast<int>(cpus.size()))) {
    runs.push_back(factory.make(config));
    const Prediction prediction = predict_run(config, runs.back()->routing(), hardware);
    result.spreads.push_back({config, prediction.time_s, std::numeric_limits<double>::infinity()});
  }
  for (int round = -1; round < kRounds; ++round) {  // the first touches all memory
    for (size_t i = 0; i < runs.size(); ++i) {
      const double begin = seconds();
      runs[i]->step({});
      const double elapsed = seconds() - begin;
      if (round >= 0) result.spreads[i].measured_s = std::min(result.spreads[i].measured_s, elapsed);
    }
  }
  return result;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));  // nearest rank
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace

MoeShape validation_shape(int i) {
  uint64_t index = static_cast<uint64_t>(i) * 16;
  const auto pick = [&](std::initializer_list<int64_t> values) {
    const double u = random_uniform(kCorpusSeed, Stream::kSampleRows, index++);
    return *(values.begin() + static_cast<int64_t>(u * static_cast<double>(values.size())));
  };
  MoeShape shape;
  shape.hidden = pick({256, 384, 512, 640, 1024, 1536});
  shape.mlp_dim = pick({128, 192, 320, 512, 768});
  shape.experts = static_cast<int>(pick({4, 8, 16, 32, 64}));
  shape.topk = static_cast<int>(std::min<int64_t>(pick({1, 2, 4, 8}), shape.experts));
  shape.shared_dim = pick({0, 0, 256, 512});
  shape.dtype = pick({0, 1, 1}) == 0 ? DType::f32 : DType::bf16;
  const double flops = 1e9 * std::pow(8.0, random_uniform(kCorpusSeed, Stream::kSampleRows, index));
  shape.tokens = 1;
  const double per_token = model_flops(shape, Pass::forward_backward, shape.topk);
  shape.tokens = std::clamp<int64_t>(static_cast<int64_t>(flops / per_token), 16, 4096);
  return shape;
}

std::vector<ValidatedShape> validate_model(int num_shapes, const Hardware& hardware) {
  const std::vector<int> cpus = core_cpus();
  std::vector<ValidatedShape> shapes;
  for (int i = 0; i < num_shapes; ++i) shapes.push_back(validate_shape(validation_shape(i), hardware, cpus));
  return shapes;
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

}  // namespace moehill

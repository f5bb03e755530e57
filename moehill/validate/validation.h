// Validation: random shapes by every spread, run here and compared with what the model had expected.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/predict.h"

namespace moehill {

struct ValidatedSpread {
  RunConfig config;
  double predicted_s = 0, measured_s = 0;
  std::vector<StagePrediction> predicted_stages = {};
  std::vector<double> measured_stages = {};  // [kNumStages] of that step, on its busiest device
  std::array<double, 2> half_s = {};         // measured in every second round, and in the others
  double error() const { return predicted_s / measured_s - 1; }
};

struct ValidatedShape {
  MoeShape shape;
  std::vector<ValidatedSpread> spreads;
};

// Shape i of a corpus: a function of the two alone; corpus 0 is the one whose figures are given. Steps of 1
// to 8 GFLOP, so that a hundred take a minute.
MoeShape validation_shape(int i, uint32_t corpus = 0);

// A spread's expected time, and its stages where they are known.
struct Expected {
  double seconds = 0;
  std::vector<StagePrediction> stages = {};
};
using SpreadsOf = std::function<std::vector<RunConfig>(const MoeShape&)>;
using Expect = std::function<Expected(const RunConfig&, const Routing&)>;

// The first shapes of a corpus by the spreads asked for, run here in turn; of each the median of its rounds.
std::vector<ValidatedShape> run_shapes(int num_shapes, uint32_t corpus, const SpreadsOf& spreads,
                                       const Expect& expect);

// `num_shapes` shapes on all cores. Spreads of a shape are timed in turn; each figure is the median of its
// rounds, as the probe's are. Nothing is fitted to them.
std::vector<ValidatedShape> validate_model(int num_shapes, uint32_t corpus, const Hardware& hardware);

// Median and 90th percentile of |error|, and how often the spread that the model picks is within 3 % of the
// best measured. Beside it what measuring instead of predicting reaches, which noise bounds where spreads are
// alike: how often the best spread of one half of the rounds is within 3 % of the best of the other half.
struct ValidationFigures {
  double median_error = 0, p90_error = 0, picks_within_3_percent = 0, measured_picks_within_3_percent = 0;
  int num_spreads = 0, num_shapes = 0;
};
ValidationFigures validation_figures(const std::vector<ValidatedShape>& shapes);
std::string validation_report(const std::vector<ValidatedShape>& shapes);
// A line a spread of a shape, with its stages as predicted and as measured.
std::string validation_records(const std::vector<ValidatedShape>& shapes, uint32_t corpus);

}  // namespace moehill

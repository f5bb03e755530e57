// Validation runs random shapes with every spread here, and compares them with the model's predictions.
// Nothing is fitted to these shapes, so the error is an error of predictions.
//
//     const auto shapes = validate_model(/*num_shapes=*/100, /*corpus=*/0, hardware);
//     validation_figures(shapes).median_error;   // 0.08: 8 %
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/predict.h"

namespace moehill {

// ValidatedSpread is one step, predicted and measured.
struct ValidatedSpread {
  RunConfig config;
  double predicted_s = 0, measured_s = 0;
  std::vector<StagePrediction> predicted_stages = {};
  std::vector<double> measured_stages = {};  // [kNumStages] of that step, on its busiest device
  std::array<double, 2> half_s = {};         // measured in every second round, and in the other rounds
  double error() const { return predicted_s / measured_s - 1; }
};

// ValidatedShape is one shape with all its spreads.
struct ValidatedShape {
  MoeShape shape;
  std::vector<ValidatedSpread> spreads;
};

// Returns shape i of a corpus, a function of these two numbers. Corpus 0 is the one whose figures are
// published. A step has 1 to 8 GFLOP, so that a hundred shapes take about a minute.
MoeShape validation_shape(int i, uint32_t corpus = 0);

// Expected is the time that a spread is expected to take, and its stages if they are known.
struct Expected {
  double seconds = 0;
  std::vector<StagePrediction> stages = {};
};
using SpreadsOf = std::function<std::vector<RunConfig>(const MoeShape&)>;
using Expect = std::function<Expected(const RunConfig&, const Routing&)>;
// This is called after each shape. If it returns true, no other shape runs.
using ShapeDone = std::function<bool()>;

// Runs the first shapes of a corpus with the spreads that are asked for, in turn; each figure is the median
// of its rounds.
std::vector<ValidatedShape> run_shapes(int num_shapes, uint32_t corpus, const SpreadsOf& spreads,
                                       const Expect& expect, const ShapeDone& done = {});

// Validates the model with `num_shapes` shapes on all cores. The spreads of a shape are timed in turn. Each
// figure is the median of its rounds, as the probe's figures are.
std::vector<ValidatedShape> validate_model(int num_shapes, uint32_t corpus, const Hardware& hardware,
                                           const ShapeDone& done = {});

// ValidationFigures are the median and the 90th percentile of |error|, and how often the spread that the
// model picks is within 3 % of the best measured spread. The last figure tells how well measuring would do in
// place of the model: how often the best spread of one half of the rounds is within 3 % of the best spread of
// the other half. Noise limits it if spreads are alike.
struct ValidationFigures {
  double median_error = 0, p90_error = 0, picks_within_3_percent = 0, measured_picks_within_3_percent = 0;
  int num_spreads = 0, num_shapes = 0;
};
ValidationFigures validation_figures(const std::vector<ValidatedShape>& shapes);
std::string validation_report(const std::vector<ValidatedShape>& shapes);
// Returns a line for each spread of a shape, with its stages as predicted for `hardware` and as measured
// here.
std::string validation_records(const std::vector<ValidatedShape>& shapes, uint32_t corpus,
                               const std::string& hardware);

}  // namespace moehill

// Tests of the corpus of shapes, and of the figures of the model's error.
#include "moehill/validate/validation.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(Validation, ShapesAreAFunctionOfTheirNumber) {
  for (int i = 0; i < 100; ++i) {
    const MoeShape shape = validation_shape(i);
    EXPECT_EQ(shape, validation_shape(i));
    EXPECT_LE(shape.topk, shape.experts);
    EXPECT_GE(shape.tokens, 16);
  }
  EXPECT_NE(validation_shape(0), validation_shape(1));
  EXPECT_NE(validation_shape(0, 1), validation_shape(0));
}

TEST(Validation, FiguresByHand) {
  const RunConfig config;
  // The pick of the first shape is its best spread. The pick of the second shape is 10 % slower than its
  // best. The two halves of the second shape's rounds disagree: the best spread of one half is 5 % slower in
  // the other half, and the best of the other half is 2 % slower in the first.
  const std::vector<ValidatedShape> shapes = {
      {{}, {{config, 1.1, 1.0, {}, {}, {1.0, 1.1}}, {config, 1.9, 2.0, {}, {}, {2.0, 2.1}}}},
      {{}, {{config, 1.0, 1.1, {}, {}, {1.0, 1.05}}, {config, 1.5, 1.0, {}, {}, {1.02, 1.0}}}}};
  const ValidationFigures f = validation_figures(shapes);
  EXPECT_EQ(f.num_spreads, 4);
  EXPECT_NEAR(f.median_error, 1 - 1 / 1.1, 1e-12);  // of 5, 9.1, 10 and 50 %
  EXPECT_NEAR(f.p90_error, 0.5, 1e-12);
  EXPECT_EQ(f.picks_within_3_percent, 0.5);
  EXPECT_EQ(f.measured_picks_within_3_percent, 0.75);
}

TEST(Validation, RecordsNameTheHardwareOfThePrediction) {
  const std::vector<ValidatedShape> shapes = {{{}, {{RunConfig{}, 1.1, 1.0}}}};
  EXPECT_NE(validation_records(shapes, 3, "tpu-v5p").find("\"hardware\":\"tpu-v5p\",\"corpus\":3"),
            std::string::npos);
}

TEST(Validation, TheReportSaysOnWhichDevices) {
  RunConfig config;
  config.spread = Spread::dp;
  config.num_devices = 2;
  config.threads_per_device = 3;
  const std::vector<ValidatedShape> shapes = {{{}, {{config, 1.1, 1.0}}}};
  const std::string report = validation_report(shapes);
  EXPECT_NE(report.find("dp  1 node x 2 devices x 3 threads  "), std::string::npos) << report;
  EXPECT_NE(report.find("in 100 % of 1 shape; "), std::string::npos) << report;
}

TEST(Validation, TheShapeAfterWhichItsCallerSaysSoIsTheLast) {
  int num_done = 0;
  const std::vector<ValidatedShape> shapes = run_shapes(
      3, 0, [](const MoeShape& shape) { return std::vector<RunConfig>{RunConfig{.shape = shape}}; },
      [](const RunConfig&, const Routing&) { return Expected{1}; }, [&] { return ++num_done == 2; });
  EXPECT_EQ(shapes.size(), 2u);
  EXPECT_EQ(num_done, 2);
}

}  // namespace
}  // namespace moehill

// Tests of the sentences about devices without experts and about efficiencies above 1.
#include "moehill/predict/saturation.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

// Makes a step of one stage in which all devices work for `work_s` seconds, and nothing else happens.
SimulatedStep step_of(int num_devices, double work_s) {
  SimulatedStep step;
  step.path = num_devices == 1 ? Spread::none : Spread::fused;
  step.num_devices = num_devices;
  step.tokens = 1000 * num_devices;
  step.assignments = 4 * step.tokens;
  step.experts = 8;
  step.device_max_over_mean = num_devices > 8 ? num_devices / 8.0 : 1;
  step.program.stages = {{"up", false, std::vector<double>(static_cast<size_t>(num_devices), work_s), {}}};
  step.simulation.seconds = work_s;
  return step;
}

TEST(Saturation, DevicesWithoutAnExpertAreCounted) {
  const std::string text = saturation_text(step_of(16, 1e-3));
  EXPECT_NE(text.find("8 of the 16 devices have no expert"), std::string::npos) << text;
  EXPECT_NE(text.find("2.0 times"), std::string::npos) << text;
  EXPECT_EQ(saturation_text(step_of(8, 1e-3)), "");
  SimulatedStep replicated = step_of(16, 1e-3);
  replicated.path = Spread::dp;
  EXPECT_EQ(saturation_text(replicated), "");
}

TEST(Saturation, AnEfficiencyAboveOneIsExplainedByItsWork) {
  const std::string text = efficiency_text({step_of(1, 2e-3), step_of(2, 1.9e-3), step_of(4, 1.6e-3)});
  EXPECT_NE(text.find("efficiency 1.250 at 4 devices"), std::string::npos) << text;
  EXPECT_NE(text.find("2 experts of 2000 rows and not 8 experts of 500 rows"), std::string::npos) << text;
  EXPECT_EQ(efficiency_text({step_of(1, 2e-3), step_of(2, 2e-3), step_of(4, 2.1e-3)}), "");
}

// The work of a token stays equal while the time falls, so the load must have been less even before.
TEST(Saturation, AnEfficiencyAboveOneMayComeOfAnEvenLoad) {
  SimulatedStep least = step_of(2, 1e-3);
  least.simulation.seconds = 2e-3;
  least.device_max_over_mean = 2;
  const std::string text = efficiency_text({least, step_of(4, 1e-3)});
  EXPECT_NE(text.find("1.000 times the mean load, at 2 it has 2.000 times"), std::string::npos) << text;
}

}  // namespace
}  // namespace moehill

// Tests that groups of nodes change no byte of a simulated step, and its time by little, on all paths.
#include "moehill/predict/simulated_step.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/routing/statistics.h"
#include "moehill/simulation/simulator_fixture.h"

namespace moehill {
namespace {

// 64 devices are eight nodes, which make groups of one and of four nodes.
constexpr int kDevices = 64, kTokens = 64 * kDevices;

// Rows of Case::times the usual size stand for so many times the tokens. Narrow experts take nearly no time,
// so that a step is its messages alone.
struct Case {
  int times;
  int64_t mlp_dim;
  double error;
};

SimulateOptions options_of(const std::string& distribution, const Case& c) {
  SimulateOptions options;
  options.hardware = "h800-node";
  options.devices = kDevices;
  options.shape = {kTokens, 7168 * c.times, c.mlp_dim, 256, 8, c.mlp_dim, DType::bf16};
  options.distribution = parse_distributions(distribution).front();
  options.compare_paths = true;
  return options;
}

TEST(RoutingSource, FewerTokensKeepTheirZeroExperts) {
  SimulateOptions options;
  options.shape = {0, 64, 32, 12, 4, 0, DType::bf16};
  options.shape.router = parse_router_rule("softmax,zero:4");
  RoutingSource source(options);
  const Routing part = source.route(50, 200, 4);
  EXPECT_EQ(part.num_tokens, 50);
  EXPECT_EQ(part.num_logits(), 16);
  EXPECT_GT(num_zero_choices(part), 0);
  EXPECT_EQ(num_zero_choices(part), num_unassigned(part)) << "nobody else has no expert";
}

class GroupedStep : public NeedsSimulator, public testing::WithParamInterface<std::string> {};

// The latency of messages counts here about as much as their bytes, which is where groups err the most:
// single messages wait for each other in ways that a flow of many does not have.
TEST_P(GroupedStep, TakesTheTimeOfItsSingleMessages) {
  const Hardware hardware = load_hardware(MOEHILL_SOURCE_DIR "/hardware/h800-node.toml");
  for (const Case& c : {Case{8, 2048, 0.05}, Case{8, 64, 0.15}}) {
    SimulateOptions options = options_of(GetParam(), c);
    const Routing routing = RoutingSource(options).route(kTokens, kTokens, kDevices);
    for (const Spread path : options.paths()) {
      options.grouping = 1;
      const SimulatedStep single = simulate_step(options, hardware, path, kDevices, routing);
      for (const int group : {8, 32}) {
        options.grouping = group;
        const SimulatedStep step = simulate_step(options, hardware, path, kDevices, routing);
        const std::string what = fmt::format("{}, experts of {}, rows of {}, groups of {}", name_of(path),
                                             c.mlp_dim, options.shape.hidden, group);
        EXPECT_EQ(step.program.group, group);
        EXPECT_LT(step.simulation.num_flows, single.simulation.num_flows) << what;
        EXPECT_EQ(step.simulation.delivered_bytes, single.simulation.delivered_bytes) << what;
        EXPECT_EQ(step.program.network_bytes(), single.program.network_bytes()) << what;
        EXPECT_NEAR(step.simulation.seconds / single.simulation.seconds, 1, c.error) << what;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Distributions, GroupedStep, testing::Values("random", "zipf:1.2"),
                         [](const auto& test) { return test.param.substr(0, 3); });

}  // namespace
}  // namespace moehill

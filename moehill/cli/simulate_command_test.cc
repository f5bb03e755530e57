// Tests of `moehill simulate`, from its options on.
#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/cli/command_fixture.h"
#include "moehill/cli/simulate_options.h"
#include "moehill/predict/prediction.h"
#include "moehill/predict/simulate_report.h"
#include "moehill/simulation/simulator_fixture.h"

namespace moehill {
namespace {

std::string outcome(const std::string& line) {
  try {
    parse_simulate_options(words(line));
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(SimulateOptions, ContradictionsAreRefused) {
  EXPECT_EQ(outcome("--preset deepseek-v3 --devices 256 --compare-paths"), "accepted");
  EXPECT_EQ(outcome("--tokens 4096 --scaling strong"), "accepted");
  EXPECT_NE(outcome("--tokens 4096 --scaling weak").find("--tokens-per-device"), std::string::npos);
  EXPECT_NE(outcome("--tokens 4096 --tokens-per-device 3").find("one of the two"), std::string::npos);
  EXPECT_NE(outcome("--compare-paths --ep-path dp").find("--ep-path"), std::string::npos);
  EXPECT_NE(outcome("--compare-paths --scaling weak").find("--scaling"), std::string::npos);
  EXPECT_NE(outcome("--distribution both").find("one distribution"), std::string::npos);
  EXPECT_NE(outcome("--topk 61").find("60"), std::string::npos);
  EXPECT_EQ(outcome("--devices 64 --wire fp8+scales --compare-paths"), "accepted");
  EXPECT_NE(outcome("--devices 4 --wire fp8+scales").find("on one node"), std::string::npos);
  EXPECT_NE(outcome("--devices 64 --wire fp8+scales --ep-path dp").find("--wire"), std::string::npos);
  EXPECT_NE(outcome("--grouping 8 --exact-devices 64").find("one of the two"), std::string::npos);
  EXPECT_NE(outcome("--collective-form star").find("two-level"), std::string::npos);
  EXPECT_EQ(outcome("--seed 1 --distribution zipf:1"), "accepted");
  EXPECT_EQ(outcome("--distribution trace:t.jsonl"), "accepted");
  EXPECT_NE(outcome("--seed 1 --distribution trace:t.jsonl").find("--seed cannot be used with a trace"),
            std::string::npos);
}

// All paths of one device would be equal rows.
TEST(SimulateOptions, OneDeviceHasOnePathToCompare) {
  EXPECT_EQ(parse_simulate_options(words("--compare-paths --devices 1"))->paths().size(), 1u);
  EXPECT_EQ(parse_simulate_options(words("--compare-paths --devices 2"))->paths().size(), 6u);
}

TEST(SimulateOptions, NodesHaveAllTheirDevices) {
  const std::optional<SimulateOptions> o = parse_simulate_options(words("--hardware epyc-cluster --nodes 2"));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->devices, 16);
  EXPECT_NE(outcome("--nodes 2 --devices 16").find("--nodes cannot be used with --devices"),
            std::string::npos);
  EXPECT_NE(outcome("--nodes 1000").find("--nodes: got 1000, allowed: at most 4096 devices"),
            std::string::npos);
}

TEST(SimulateOptions, AConfigIsAModelToo) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("config.json"))
      << R"({"model_type": "olmoe", "hidden_size": 64, "intermediate_size": 32, "num_experts": 16,
             "num_experts_per_tok": 2, "num_hidden_layers": 2, "norm_topk_prob": false, "hidden_act": "silu"})";
  const std::string line = "--config " + folder.file("config.json");
  const std::optional<SimulateOptions> o = parse_simulate_options(words(line + " --topk 4"));
  ASSERT_TRUE(o);
  EXPECT_EQ(o->shape.hidden, 64);
  EXPECT_EQ(o->shape.experts, 16);
  EXPECT_EQ(o->shape.topk, 4) << "single options override it";
  EXPECT_NE(outcome(line + " --preset olmoe-1b-7b").find("--config cannot be used with --preset"),
            std::string::npos);
  EXPECT_NE(outcome("--validate 2 " + line).find("--config cannot be used with runs"), std::string::npos);
}

TEST(SimulateOptions, SizesWhoseBytesNoIntegerCountsAreRefused) {
  EXPECT_EQ(outcome("--preset deepseek-v3 --devices 256 --tokens-per-device 524288"), "accepted");
  EXPECT_NE(outcome("--tokens-per-device 2147483647").find("tokens * topk: got"), std::string::npos);
  EXPECT_NE(outcome("--hidden 2147483647 --mlp-dim 2147483647").find("hidden"), std::string::npos);
  EXPECT_NE(outcome("--expert-form silu,latent:16777216 --experts 64 --mlp-dim 16777216 --hidden 1")
                .find("experts * latent * mlp-dim"),
            std::string::npos);
}

std::string messages_outcome(const std::string& line) {
  try {
    refuse_impossible_messages(*parse_simulate_options(words(line)),
                               load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml"));
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(SimulateOptions, GroupsAreWholeNodesAndFormsHaveAnEffect) {
  EXPECT_EQ(messages_outcome("--devices 64 --grouping 16"), "accepted");
  EXPECT_EQ(messages_outcome("--devices 64 --grouping 1"), "accepted");
  EXPECT_NE(messages_outcome("--devices 64 --grouping 12").find("--grouping 16"), std::string::npos);
  EXPECT_EQ(messages_outcome("--devices 64 --ep-path dp --collective-form two-level"), "accepted");
  EXPECT_NE(messages_outcome("--devices 8 --ep-path dp --collective-form two-level").find("one node"),
            std::string::npos);
  // Without a shared expert all messages go by the routing.
  EXPECT_NE(messages_outcome("--devices 64 --shared-expert-dim 0 --collective-form ring").find("routing"),
            std::string::npos);
}

// The preset's groups hold for other --topk and --experts too, as in bench and predict; other experts need
// groups that fit.
TEST(SimulateOptions, ThePresetsRouterIsThatOfEverySize) {
  const auto groups = [](const char* line) {
    return parse_simulate_options(words(line))->shape.router.groups;
  };
  EXPECT_EQ(groups("--preset deepseek-v3"), 8);
  EXPECT_EQ(groups("--preset deepseek-v3 --experts 128"), 8);
  EXPECT_EQ(groups("--preset deepseek-v3 --topk 4"), 8);
  EXPECT_NE(outcome("--preset deepseek-v3 --experts 60").find("8 groups of 60 experts"), std::string::npos);
}

class SimulatedStepTest : public NeedsSimulator {};

TEST_F(SimulatedStepTest, RecordAndTablesAgree) {
  SimulateOptions o = *parse_simulate_options(
      words("--devices 4 --tokens-per-device 64 --hidden 64 --mlp-dim 32 --experts 8 --topk 2 "
            "--shared-expert-dim 0 --distribution hot-device:0.5"));
  const Hardware hardware = load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml");
  const Routing routing = RoutingSource(o).route(256, 256, 4);
  const SimulatedStep step = simulate_step(o, hardware, Spread::ragged_a2a, 4, routing);
  const nlohmann::ordered_json record = simulation_record(o, step, 0);
  EXPECT_EQ(record["config"]["ep_path"], "ragged_a2a");
  EXPECT_EQ(record["skew"][0]["achieved"], 0.5);
  EXPECT_GT(record["simulator"]["peak_rss_bytes"], 0);
  EXPECT_NEAR(record["balance"]["device_max_over_mean"], 2, 1e-9);
  EXPECT_EQ(record["comm"]["sent_bytes"], record["simulator"]["delivered_bytes"]);
  double critical = 0;
  for (const auto& stage : record["stages"]) critical += stage["critical_s"].get<double>();
  EXPECT_NEAR(critical, record["time_s"], 1e-12);
  EXPECT_NE(step_report(step).find("ragged_a2a"), std::string::npos);
  EXPECT_EQ(simulation_answer({step}, Scaling::none).rfind("Simulated: a step takes ", 0), 0u);
  EXPECT_NE(simulation_answer({step, step}, Scaling::none).find("ragged_a2a is next, 1.00 times as long"),
            std::string::npos);
  EXPECT_NE(simulation_answer({step, step}, Scaling::weak).find("1.00 times the tokens/s of 4 devices"),
            std::string::npos);
  EXPECT_EQ(simulation_closing(o, hardware).rfind("\nHow sure this is:\nNothing ran: ", 0), 0u);
  EXPECT_NE(simulation_closing(o, hardware).find("\nNext: --compare-paths"), std::string::npos);
  o.compare_paths = true;
  EXPECT_NE(simulation_closing(o, hardware).find("\nNext: --scaling weak"), std::string::npos);
  o.shape.tokens = 256;
  EXPECT_NE(simulation_closing(o, hardware).find("\nNext: --scaling strong"), std::string::npos)
      << "weak refuses --tokens";
}

TEST_F(SimulatedStepTest, TablesAndRecordsSayNodesDevicesAndUnits) {
  SimulateOptions o = *parse_simulate_options(
      words("--devices 16 --tokens-per-device 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
            "--shared-expert-dim 0 --scaling weak"));
  const Hardware hardware = load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml");
  RoutingSource source(o);
  std::vector<SimulatedStep> steps;
  for (const int devices : {4, 16})
    steps.push_back(simulate_step(o, hardware, o.path, devices, source.route(64 * devices, 1024, devices)));
  const std::string table = scaling_table(steps, Scaling::weak, hardware);
  for (const char* part : {"layout", "\n1 node x 4 devices x 16 cores ", "\n2 nodes x 8 devices x 16 cores "})
    EXPECT_NE(table.find(part), std::string::npos) << part << "\n" << table;
  const nlohmann::ordered_json config = simulation_record(o, steps[1], 0)["config"];
  EXPECT_EQ(config["nodes"], 2);
  EXPECT_EQ(config["devices"], 16);
  EXPECT_EQ(config["units_per_device"], 16);
}

// Rows change their type only between nodes, of which the smaller sizes of --scaling have one.
TEST_F(SimulatedStepTest, OnOneNodeARecordHasNoWire) {
  const SimulateOptions o = *parse_simulate_options(
      words("--devices 16 --tokens-per-device 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
            "--shared-expert-dim 0 --scaling weak --wire fp8+scales"));
  const Hardware hardware = load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml");
  RoutingSource source(o);
  for (const int devices : {1, 8, 16}) {
    const Routing& routing = source.route(64 * devices, 1024, devices);
    const SimulatedStep step = simulate_step(o, hardware, o.path, devices, routing);
    const nlohmann::ordered_json config = simulation_record(o, step, 0)["config"];
    EXPECT_EQ(config.contains("wire"), devices == 16) << devices;
  }
}

// A step keeps less where its devices read rows in place: on one node, which has 8 devices here.
TEST_F(SimulatedStepTest, ReadsRowsInPlaceWhereThePredictionDoes) {
  const SimulateOptions o = *parse_simulate_options(
      words("--devices 16 --tokens-per-device 64 --hidden 64 --mlp-dim 32 --experts 16 --topk 2 "
            "--shared-expert-dim 0"));
  const Hardware hardware = load_hardware(MOEHILL_SOURCE_DIR "/hardware/epyc-cluster.toml");
  const Routing routing = RoutingSource(o).route(1024, 1024, 16);
  for (const Spread path : {Spread::fused, Spread::ring_ag_rs, Spread::ragged_a2a}) {
    for (const int devices : {4, 16}) {
      RunConfig config = o.largest(8);
      config.shape.tokens = routing.num_tokens;
      config.spread = path;
      config.num_devices = devices;
      config.block.pass = o.pass;
      const SimulatedStep step = simulate_step(o, hardware, path, devices, routing);
      EXPECT_DOUBLE_EQ(step.memory_bytes, predict_run(config, routing, hardware).memory_bytes)
          << name_of(path) << " on " << devices;
    }
  }
}

}  // namespace
}  // namespace moehill

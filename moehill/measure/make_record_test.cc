// Tests of records: the keys of schema moehill/1 in their order, and no throughput without a passed check.
#include "moehill/measure/make_record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "moehill/measure/results_fixture.h"

namespace moehill {
namespace {

Json record_json(const BenchOptions& options, const CommandResult& command, size_t index) {
  return json_of(make_record(options, command, index));
}

std::string lines_of(const CommandResult& command) {
  std::string lines;
  for (const Record& record : make_records({}, command)) lines += record_line(record);
  return lines;
}

std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> names;
  for (const auto& item : json.items()) names.push_back(item.key());
  return names;
}

TEST(Record, GoldenKeys) {
  const auto record = record_json({}, made_up_command(), 1);
  EXPECT_EQ(keys(record), (std::vector<std::string>{"schema",
                                                    "command",
                                                    "time_utc",
                                                    "process",
                                                    "seq",
                                                    "config",
                                                    "tuned",
                                                    "layout",
                                                    "timed_region",
                                                    "caches",
                                                    "time_s",
                                                    "tflops",
                                                    "tflops_executed",
                                                    "tflops_per_device",
                                                    "tokens_per_s",
                                                    "drop_adjusted_tokens_per_s",
                                                    "peak",
                                                    "stages",
                                                    "runs",
                                                    "load",
                                                    "balance",
                                                    "skew",
                                                    "capacity",
                                                    "comm",
                                                    "overlap",
                                                    "memory",
                                                    "check",
                                                    "hash",
                                                    "env",
                                                    "prediction",
                                                    "schedule",
                                                    "repro"}));
  EXPECT_EQ(keys(record["config"]), (std::vector<std::string>{"preset",
                                                              "tokens",
                                                              "hidden",
                                                              "mlp_dim",
                                                              "experts",
                                                              "topk",
                                                              "shared_expert_dim",
                                                              "dtype",
                                                              "router",
                                                              "expert_form",
                                                              "shared_fused",
                                                              "bench_pass",
                                                              "backend",
                                                              "impl",
                                                              "routing_pack_strategy",
                                                              "queue_mode",
                                                              "remat_mode",
                                                              "capacity_factor",
                                                              "capacity_policy",
                                                              "router_grad",
                                                              "route_in_step",
                                                              "renormalize_topk",
                                                              "expert_by_expert",
                                                              "blocks",
                                                              "distribution",
                                                              "run_alpha",
                                                              "run_noise_scale",
                                                              "distribution_devices",
                                                              "parallel_mode",
                                                              "ep_path",
                                                              "shared_placement",
                                                              "ring_split",
                                                              "devices",
                                                              "threads_per_device",
                                                              "mesh",
                                                              "stage_timing",
                                                              "iters",
                                                              "warmup",
                                                              "min_time",
                                                              "ci_target",
                                                              "seed",
                                                              "check"}));
  EXPECT_EQ(keys(record["layout"]),
            (std::vector<std::string>{"devices", "threads_per_device", "cores", "mesh", "nodes", "cpus",
                                      "numa", "remote_share"}));
  CommandResult irregular = made_up_command();
  irregular.environment.node_of = {0, 1, 0};
  EXPECT_EQ(record_json({}, irregular, 1)["layout"]["node_of"], (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(keys(record["time_s"]), (std::vector<std::string>{"median", "ci_lo", "ci_hi", "coverage", "min",
                                                              "max", "n", "samples", "cpu_s"}));
  EXPECT_EQ(record["time_s"]["cpu_s"], (std::vector<double>{0.19, 0.17}));
  EXPECT_EQ(keys(record["peak"]),
            (std::vector<std::string>{"dtype", "instruction", "tflops_measured", "tflops_typical", "fraction",
                                      "tflops_f32", "tflops_bf16", "instruction_f32", "instruction_bf16",
                                      "read_gbps"}));
  EXPECT_EQ(
      keys(record["stages"]),
      (std::vector<std::string>{"forward", "backward", "unaccounted_s", "too_much_unaccounted", "hand_overs",
                                "step_s", "devices", "slowest_device", "busy_max_over_mean"}));
  EXPECT_EQ(record["stages"]["devices"].size(), 2u);
  EXPECT_EQ(keys(record["stages"]["devices"][0]), (std::vector<std::string>{"busy_s", "wait_s"}));
  EXPECT_EQ(keys(record["comm"]),
            (std::vector<std::string>{"sent_bytes", "received_bytes", "dispatch_bytes", "combine_bytes",
                                      "gradient_bytes", "metadata_bytes", "lower_bound_bytes", "flight_s",
                                      "progress_calls", "logical_bytes", "link_bytes"}));
  EXPECT_EQ(keys(record["env"]),
            (std::vector<std::string>{"build", "compiler", "flags", "cpu", "caches", "cores", "mpi", "kernel",
                                      "system", "host", "load_average"}));
  EXPECT_EQ(record["schema"], "moehill/1");
  EXPECT_EQ(record["seq"], 1);
}

// Two builds of an edited tree have one name.
TEST(Record, TheBuildIsNamedWithTheProgramsContent) {
  Environment environment;
  environment.build = "0.0.0 Release abc-dirty";
  EXPECT_EQ(recorded_environment(environment).build, "0.0.0 Release abc-dirty, program " + program_hash());
}

TEST(Record, FiguresFollowTheFormulas) {
  const auto record = record_json({}, made_up_command(), 1);
  const double flops = 3 * (6.0 * 1000 * 2 * 100 * 50 + 6.0 * 1000 * 100 * 30);
  EXPECT_DOUBLE_EQ(record["tflops"], flops / 0.2 / 1e12);
  EXPECT_DOUBLE_EQ(record["tflops_per_device"], flops / 0.2 / 1e12 / 2);
  EXPECT_DOUBLE_EQ(record["tflops_executed"], 1e9 / 0.2 / 1e12);
  EXPECT_DOUBLE_EQ(record["tokens_per_s"], 5000);
  EXPECT_DOUBLE_EQ(record["peak"]["fraction"], 1e9 / 0.2 / 2e11);
  EXPECT_DOUBLE_EQ(record["stages"]["forward"]["up"], 0.12);
  EXPECT_DOUBLE_EQ(record["stages"]["backward"]["w2_grad"], 0.06);
  EXPECT_NEAR(record["stages"]["unaccounted_s"], 0.02, 1e-12);
  EXPECT_DOUBLE_EQ(record["stages"]["step_s"], 0.2);
  EXPECT_EQ(record["stages"]["hand_overs"], (nlohmann::json{{"up", 1}, {"w2_grad", 2}}));
  EXPECT_EQ(record["comm"]["dispatch_bytes"], 60);
  EXPECT_EQ(record["comm"]["combine_bytes"], 50);
  EXPECT_EQ(record["comm"]["gradient_bytes"], 20);
  EXPECT_EQ(record["comm"]["metadata_bytes"], 10);
}

TEST(Record, DroppedAssignmentsDoNotCount) {
  CommandResult command = made_up_command();
  command.points[0].num_dropped = 500;
  const double flops = 3 * (6.0 * 1500 * 100 * 50 + 6.0 * 1000 * 100 * 30);
  const auto record = record_json({}, command, 0);
  EXPECT_DOUBLE_EQ(record["tflops"], flops / 0.1 / 1e12);
  EXPECT_DOUBLE_EQ(record["tokens_per_s"], 10000);
  EXPECT_DOUBLE_EQ(record["drop_adjusted_tokens_per_s"], 7500);
}

TEST(Record, NoThroughputWithoutAPassedCheck) {
  for (const CheckStatus wanted : {CheckStatus::failed, CheckStatus::mistrusted, CheckStatus::off}) {
    const char* status = name_of(wanted);
    CommandResult command = made_up_command();
    command.points[0].check.status = wanted;
    const auto record = record_json({}, command, 0);
    for (const char* key :
         {"tflops", "tflops_executed", "tflops_per_device", "tokens_per_s", "drop_adjusted_tokens_per_s"}) {
      EXPECT_TRUE(record[key].is_null()) << status << " " << key;
    }
    EXPECT_TRUE(record["peak"]["fraction"].is_null());
    EXPECT_EQ(record["check"]["status"], status);
    EXPECT_TRUE(compare_modes(command.points, 0).empty()) << status;
  }
}

// The step has 1e9 FLOPs in 0.2 s. The made-up peak of bf16 is 2e11 FLOP/s, and the fastest pass of reading
// 22 GB/s.
TEST(Record, FiguresAboveThePeaksAreImpossible) {
  PointResult result = made_up_command().points[1];
  EXPECT_EQ(impossible_figure(result, 1e6), "");
  result.executed_flops = 0.2 * 1.06 * 2e11;
  EXPECT_NE(impossible_figure(result, 1e6).find("GF/s is more than 105 %"), std::string::npos);
  result.executed_flops = 1e9;
  result.operand_bytes = 0.2 * 1.26 * 22e9 + 1e6;
  EXPECT_NE(impossible_figure(result, 1e6).find("its operands were read at"), std::string::npos);
  EXPECT_EQ(impossible_figure(result, 1e11), "") << "they may be in a cache";
  result.check.status = CheckStatus::failed;
  EXPECT_EQ(impossible_figure(result, 1e6), "") << "no figure";
}

TEST(Record, NotTimedAndNotANumberAreNull) {
  CommandResult command = made_up_command();
  command.points[0].samples.clear();
  command.points[0].stage_samples.clear();
  command.points[0].check.status = CheckStatus::failed;
  command.points[0].check.forward_rel_err = std::numeric_limits<double>::quiet_NaN();
  command.points[0].load.cv = std::numeric_limits<double>::infinity();
  const auto record = record_json({}, command, 0);
  EXPECT_TRUE(record["time_s"]["median"].is_null());
  EXPECT_EQ(record["time_s"]["n"], 0);
  EXPECT_TRUE(record["check"]["forward_rel_err"].is_null());
  EXPECT_TRUE(record["load"]["cv"].is_null());
}

TEST(Record, OneLineEachAndTheComparisonWithTheEp) {
  const std::string lines = lines_of(made_up_command());
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  const auto none = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  const auto ep = nlohmann::json::parse(lines.substr(lines.find('\n') + 1));
  EXPECT_FALSE(none.contains("comparison"));
  EXPECT_NEAR(ep["comparison"]["ratio"], 0.5, 1e-12);
  EXPECT_EQ(ep["comparison"]["verdict"], "slower");
  EXPECT_EQ(ep["comparison"]["with_seq"], 0);
  EXPECT_EQ(ep["comparison"]["coverage"], 0.95);
  EXPECT_EQ(ep["time_s"]["coverage"], 0.9375);
  EXPECT_EQ(ep["process"], none["process"]);
}

TEST(Record, ReproMeasuresThisPointAlone) {
  BenchOptions options;
  options.repro = "moehill bench --topk-list 2,8";
  CommandResult command = made_up_command();
  const auto has_filter = [&](size_t i) {
    return make_record(options, command, i).repro.value().find(" --filter ") != std::string::npos;
  };
  EXPECT_TRUE(has_filter(0) && has_filter(1));
  command.points.resize(1);
  EXPECT_FALSE(has_filter(0));
  options.filter = "none";  // it left one of several points, and is no part of the line
  EXPECT_TRUE(has_filter(0));
}

TEST(Record, TwoRoundsHaveNoIntervalAndNoVerdict) {
  CommandResult command = made_up_command();
  for (PointResult& point : command.points) point.samples.resize(2);
  const std::string lines = lines_of(command);
  const auto ep = nlohmann::json::parse(lines.substr(lines.find('\n') + 1));
  for (const char* part : {"time_s", "comparison"}) {
    for (const char* key : {"ci_lo", "ci_hi", "coverage"})
      EXPECT_TRUE(ep[part][key].is_null()) << part << key;
  }
  EXPECT_EQ(ep["comparison"]["verdict"], "cannot tell");
}

TEST(Record, ReadsBackWhatWasWritten) {
  CommandResult command = made_up_command();
  command.points[1].overlap = Overlap{0.1, 0.05, 0.12, {0.6, 0.5, 0.7, 3, Interval{0.5, 0.7, 0.75}}};
  command.points[1].prediction = Prediction{.time_s = 0.19, .stages = {{.stage = Stage::up, .gemm_s = 0.1}}};
  command.points[1].placement = {{"", {{0, 0, 0}}, {3, 1, 0}}, {"", {{1, 1, 0}}}};
  for (const Record& record : make_records({}, command)) {
    const Json json = Json::parse(record_line(record));
    Record again;
    read_fields(json, again);
    EXPECT_EQ(json_of(again), json);
  }
}

TEST(Record, ErrorsOfAWireAreThereWithOne) {
  CommandResult command = made_up_command();
  EXPECT_FALSE(record_json({}, command, 1)["check"].contains("wire_error"));
  EXPECT_FALSE(record_json({}, command, 1)["config"].contains("wire"));
  PointResult& point = command.points[1];
  point.point.config.spread = Spread::ragged_a2a;
  point.point.config.wire = Wire::fp8_scales;
  point.check.wire = {8, 0.03, 0.02, 0.05, 0.04};
  const Json record = record_json({}, command, 1);
  EXPECT_EQ(record["config"]["wire"], "fp8+scales");
  EXPECT_EQ(record["check"]["wire_error"],
            Json::parse(R"({"tokens":8,"y_max":0.03,"y_rms":0.02,"dx_max":0.05,"dx_rms":0.04})"));
  point.point.config.block.pass = Pass::forward;
  EXPECT_TRUE(record_json({}, command, 1)["check"]["wire_error"]["dx_rms"].is_null());
}

TEST(Record, BandwidthOfBefore20261128WasOneNumber) {
  Record record;
  read_fields(Json::parse(R"({"peak": {"read_gbps": 41}})"), record);
  EXPECT_EQ(record.peak.read_gbps.median, 41);
  EXPECT_FALSE(record.peak.read_gbps.min.has_value());
}

}  // namespace
}  // namespace moehill

// Tests of the predictions of points, and of the probe's file.
#include "moehill/predict/prediction.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

Probe small_probe() {
  Probe probe;
  probe.time_utc = "2026-02-09T00:00:00Z";
  probe.cpu = "a \"CPU\"";
  probe.build = "1";
  probe.simd = "AVX2";
  probe.cores = 2;
  probe.bandwidth = {{1, {1e10, 9e9, 1.1e10}, 2e10}, {2, {2e10, 1.9e10, 2.1e10}, 3e10}};
  probe.hardware = load_hardware("epyc-cluster");
  probe.hardware.topology.devices_per_node = 2;
  return probe;
}

Environment environment_of(const Probe& probe) {
  Environment environment;
  environment.topology.cpu_model = probe.cpu;
  environment.topology.num_cores = probe.cores;
  environment.build = probe.build;
  environment.kernel = probe.simd;
  return environment;
}

std::string file_of(const std::string& name) {
  static const TemporaryFolder folder;
  return folder.file(name + ".json");
}

TEST(ProbeFile, ReadsBackWhatWasWritten) {
  const std::string path = file_of("probe_round_trip");
  const Probe probe = small_probe();
  write_probe(probe, path);
  const Probe again = read_probe(path);
  EXPECT_EQ(again.cpu, probe.cpu);
  EXPECT_EQ(again.simd, "AVX2");
  EXPECT_EQ(again.bandwidth[1].read.median, 2e10);
  EXPECT_EQ(again.bandwidth[1].read.min, 1.9e10);
  EXPECT_EQ(again.bandwidth[1].copy, 3e10);
  EXPECT_EQ(hardware_toml(again.hardware, {}), hardware_toml(probe.hardware, {}));
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

TEST(ProbeFile, SaysWhyItIsStale) {
  const Probe probe = small_probe();
  Environment environment = environment_of(probe);
  EXPECT_EQ(stale_reason(probe, environment), "");
  environment.build = "2";
  EXPECT_NE(stale_reason(probe, environment).find("build 1"), std::string::npos);
  environment.topology.num_cores = 4;
  EXPECT_NE(stale_reason(probe, environment).find("2 cores"), std::string::npos);
  environment.topology.cpu_model = "another";
  EXPECT_NE(stale_reason(probe, environment).find("another"), std::string::npos);
}

// MOEHILL_SIMD chooses another target in the same build on the same machine.
TEST(ProbeFile, OfAnotherSimdTargetIsStaleAndNotUsed) {
  const std::string path = file_of("probe_simd");
  Probe probe = small_probe();
  Environment environment = environment_of(probe);
  environment.kernel = "AVX3_SPR";
  EXPECT_EQ(stale_reason(probe, environment), "made with AVX2, this program uses AVX-512_SPR");
  write_probe(probe, path);
  EXPECT_FALSE(probed_hardware(environment, path).hardware);
  // A file of an older program does not say what it was made with.
  probe.simd = "";
  EXPECT_NE(stale_reason(probe, environment).find("older program"), std::string::npos);
  write_probe(probe, path);
  EXPECT_TRUE(probed_hardware(environment, path).hardware);
  EXPECT_NE(probed_hardware(environment, path).note, "");
}

TEST(ProbeFile, RefusesWhatIsNone) {
  const std::string path = file_of("no_probe");
  for (const char* text : {"", "{}", "[1]", "{\"schema\": \"moehill/1\"}"}) {
    std::ofstream(path) << text;
    EXPECT_THROW(read_probe(path), InputError) << text;
  }
}

TEST(ProbeFile, RefusesACountThatIsNoInteger) {
  const std::string path = file_of("no_count");
  write_probe(small_probe(), path);
  std::ifstream file(path);
  const nlohmann::json probe = nlohmann::json::parse(file);
  const std::vector<nlohmann::json> no_counts = {1e300, 2.5, int64_t{4294967298}, uint64_t{1} << 63, "2"};
  for (const char* key : {"cores", "job_processes", "job_nodes", "repeated", "disturbed"}) {
    for (const nlohmann::json& no_count : no_counts) {
      nlohmann::json damaged = probe;
      damaged[key] = no_count;
      std::ofstream(path) << damaged;
      EXPECT_THROW(read_probe(path), InputError) << key << " " << no_count;
    }
  }
}

TEST(ProbedHardware, OfAnotherBuildIsUsedWithANoteAndOfAnotherMachineIsNot) {
  const std::string path = file_of("probe_other");
  const Probe probe = small_probe();
  write_probe(probe, path);
  Environment environment = environment_of(probe);
  EXPECT_TRUE(probed_hardware(environment, path).hardware);
  EXPECT_EQ(probed_hardware(environment, path).note, "");
  environment.build = "2";
  EXPECT_TRUE(probed_hardware(environment, path).hardware);
  EXPECT_NE(probed_hardware(environment, path).note, "");
  environment.topology.num_cores = 3;
  EXPECT_FALSE(probed_hardware(environment, path).hardware);
  EXPECT_FALSE(probed_hardware(environment, file_of("absent")).hardware);
}

TEST(RankPaths, MaskedRowsAreLastAndTheOrderIsByTime) {
  const RunConfig config{
      .shape = {512, 256, 128, 16, 2, 0, DType::bf16}, .spread = Spread::compact_psum, .num_devices = 4};
  const Routing routing = routing_of(config.shape, {}, 0);
  const std::vector<RankedPath> ranked = rank_paths(config, routing, load_hardware("epyc-cluster"));
  ASSERT_EQ(ranked.size(), 5u);
  EXPECT_EQ(ranked.back().path, Spread::dense_masked);
  for (size_t i = 1; i < ranked.size(); ++i)
    EXPECT_LE(ranked[i - 1].prediction.time_s, ranked[i].prediction.time_s);
}

TEST(RankPaths, ExpertsOfAnotherWidthSendTheirWidth) {
  RunConfig config{.shape = {512, 256, 128, 16, 2, 0, DType::bf16}, .num_devices = 4};
  const Routing routing = routing_of(config.shape, {}, 0);
  const Hardware hardware = load_hardware("epyc-cluster");
  config.block.pass = Pass::forward;
  config.spread = Spread::fused;
  const double whole = predict_run(config, routing, hardware).sent_bytes;
  config.shape.form = parse_expert_form("silu,latent:64");
  EXPECT_EQ(unpredictable(config), "");
  const std::vector<RankedPath> ranked = rank_paths(config, routing, hardware);
  ASSERT_EQ(ranked.size(), 3u) << "paths that move rows";
  for (const RankedPath& path : ranked)
    EXPECT_TRUE(path.path != Spread::compact_psum && path.path != Spread::dense_masked);
  // Rows are a quarter as wide, but the messages about the routing stay as large.
  const double narrow = predict_run(config, routing, hardware).sent_bytes;
  EXPECT_LT(narrow, 0.35 * whole);
  EXPECT_GT(narrow, 0.25 * whole);
}

// Four devices on two cores do not have four cores.
TEST(PredictRun, DevicesShareTheCoresThatThereAre) {
  const Hardware two_cores = load_hardware("epyc-2-core");
  RunConfig config{.shape = {2048, 512, 256, 16, 2, 0, DType::bf16}};
  config.threads_per_device = 2;
  const Routing routing = routing_of(config.shape, {}, 0);
  const Prediction none = predict_run(config, routing, two_cores);
  const double at_peak = none.flops / (2 * two_cores.peak(DType::bf16));
  config.threads_per_device = 1;
  for (const Spread spread : {Spread::dp, Spread::compact_psum, Spread::ragged_a2a, Spread::fused}) {
    config.spread = spread;
    for (const int devices : {4, 16}) {
      config.num_devices = devices;
      const Prediction shared = predict_run(config, routing, two_cores);
      EXPECT_GE(shared.time_s, at_peak) << name_of(spread) << " on " << devices;
      EXPECT_EQ(shared.hidden_s, 0) << "nothing travels between nodes";
    }
  }
  config.spread = Spread::none;
  config.num_devices = 1;
  config.threads_per_device = 8;
  EXPECT_GE(predict_run(config, routing, two_cores).time_s, at_peak);
}

// While an object lives, predict_points() finds its probe.
class FoundProbe {
 public:
  FoundProbe(const Probe& probe, const std::string& path) {
    write_probe(probe, path);
    const char* before = std::getenv("MOEHILL_PROBE");
    if (before != nullptr) before_ = before;
    setenv("MOEHILL_PROBE", path.c_str(), 1);
  }
  ~FoundProbe() { before_ ? setenv("MOEHILL_PROBE", before_->c_str(), 1) : unsetenv("MOEHILL_PROBE"); }

 private:
  std::optional<std::string> before_;
};

// Returns a small block with expert parallelism over this many devices, on a path that auto chooses.
Point small_point(int num_devices) {
  Point point;
  point.config = {.shape = {512, 256, 64, 12, 4, 0, DType::bf16}, .spread = Spread::compact_psum};
  point.config.num_devices = num_devices;
  point.path_is_auto = true;
  return point;
}

// Between nodes, auto uses a probe that was made on as many nodes.
TEST(PredictPoints, AutoKnowsAsManyNodesAsTheProbe) {
  Probe probe = small_probe();
  probe.hardware.topology.dims = {3, 3};
  const FoundProbe found(probe, file_of("probe_of_three_nodes"));
  BenchOptions options;
  options.mesh = MeshKind::mpi;
  Environment environment = environment_of(probe);
  const auto chosen = [&](int nodes) {
    environment.num_nodes = nodes;
    Point point = small_point(2 * nodes);
    point.config.ranks_per_node = 2;
    point.config.wire = options.wire;
    std::vector<Point> points = {point};
    const BenchPredictions predicted = predict_points(options, environment, points);
    EXPECT_EQ(predicted.points.front().has_value(), nodes == 3);
    return predicted.text;
  };
  EXPECT_NE(chosen(3).find("hierarchical"), std::string::npos);
  options.wire = Wire::fp8_scales;
  const std::string with_wire = chosen(3);
  EXPECT_NE(with_wire.find("hierarchical"), std::string::npos);
  EXPECT_EQ(with_wire.find("psum"), std::string::npos) << with_wire;
  options.wire = Wire::native;
  EXPECT_NE(chosen(2).find("compact_psum, since the probe knows 3 nodes, not 2"), std::string::npos);
}

// The model counts rows by nodes of neighbouring processes, so for others it would count other bytes.
TEST(PredictPoints, NothingIsPredictedOnIrregularNodes) {
  Probe probe = small_probe();
  probe.hardware.topology.dims = {2, 2};
  const FoundProbe found(probe, file_of("probe_of_irregular_nodes"));
  Environment environment = environment_of(probe);
  environment.num_nodes = 2;
  BenchOptions options;
  options.mesh = MeshKind::mpi;
  Point point = small_point(4);
  point.config.ranks_per_node = 2;
  std::vector<Point> points = {point};
  EXPECT_TRUE(predict_points(options, environment, points).points.front().has_value());
  environment.node_of = {0, 1, 0, 1};
  points = {point};
  const BenchPredictions predicted = predict_points(options, environment, points);
  EXPECT_FALSE(predicted.points.front().has_value());
  EXPECT_EQ(points.front().config.spread, Spread::compact_psum);
  EXPECT_NE(
      predicted.text.find("--ep-path auto: compact_psum, since the model has only nodes of equally many"),
      std::string::npos)
      << predicted.text;
}

// A point with a wire has another default path than one without, and both are named.
TEST(PredictPoints, WithoutAChoiceEachDefaultPathIsNamed) {
  const Probe probe = small_probe();
  const FoundProbe found(probe, file_of("probe_of_one_node"));
  Environment environment = environment_of(probe);
  environment.num_nodes = 2;
  std::vector<Point> points = {small_point(2), small_point(2), small_point(2)};
  points[0].label = "native";
  points[1].label = "bf16";
  points[2].label = "fp8";
  const std::string same = predict_points({}, environment, points).text;
  EXPECT_EQ(same.find("--ep-path auto: compact_psum, since "), 0u) << same;
  points[1].config.spread = points[2].config.spread = Spread::fused;
  const std::string both = predict_points({}, environment, points).text;
  EXPECT_EQ(both.find("--ep-path auto: compact_psum (native); fused (bf16, fp8), since "), 0u) << both;
}

// A probe that was started with one process a node has the network between any two devices.
TEST(PredictPoints, NodesOfOtherSizesThanTheProbesAreNotPredicted) {
  Probe probe = small_probe();
  probe.hardware.topology.dims = {2, 2};
  const FoundProbe found(probe, file_of("probe_of_nodes_of_two"));
  Environment environment = environment_of(probe);
  const auto text_of = [&](int nodes, int num_devices, int ranks_per_node) {
    environment.num_nodes = nodes;
    BenchOptions options;
    options.mesh = nodes > 1 ? MeshKind::mpi : MeshKind::threads;
    std::vector<Point> points = {small_point(num_devices)};
    points[0].config.ranks_per_node = ranks_per_node;
    const BenchPredictions predicted = predict_points(options, environment, points);
    return predicted.points.front() ? std::string("predicted") : predicted.text;
  };
  EXPECT_EQ(text_of(1, 2, 0), "predicted");
  EXPECT_NE(text_of(1, 4, 0).find("the probe knows 2 devices a node, not 4"), std::string::npos);
  EXPECT_EQ(text_of(2, 4, 2), "predicted");
  EXPECT_NE(text_of(2, 2, 1).find("the probe knows 2 devices a node, not 1"), std::string::npos);
  EXPECT_NE(text_of(2, 8, 4).find("the probe knows 2 devices a node, not 4"), std::string::npos);
}

// The points of one command may name paths or leave the choice to auto, in any order.
TEST(PredictPoints, AutoChoosesOnlyForPointsWithoutAPath) {
  const Probe probe = small_probe();
  const FoundProbe found(probe, file_of("probe_for_some_points"));
  Point chosen = small_point(2), named = small_point(2);
  named.config.spread = Spread::dense_masked;
  named.path_is_auto = false;
  for (const std::vector<Point>& in_order : {std::vector{chosen, named}, std::vector{named, chosen}}) {
    std::vector<Point> points = in_order;
    const std::string text = predict_points({}, environment_of(probe), points).text;
    for (const Point& point : points)
      EXPECT_EQ(point.config.spread == Spread::dense_masked, !point.path_is_auto) << text;
    const size_t first = text.find("--ep-path auto");
    EXPECT_NE(first, std::string::npos) << text;
    EXPECT_EQ(text.find("--ep-path auto", first + 1), std::string::npos) << text;
  }
}

// Nobody measures a fat tree without dims, but somebody may write one into a probe.
TEST(PredictPoints, AFatTreeWithoutDimsIsOneNode) {
  Probe probe = small_probe();
  ASSERT_EQ(probe.hardware.topology.kind, TopologyKind::fat_tree);
  probe.hardware.topology.dims.clear();
  const FoundProbe found(probe, file_of("probe_without_dims"));
  Environment environment = environment_of(probe);
  std::vector<Point> points = {small_point(2)};
  BenchOptions options;
  EXPECT_TRUE(predict_points(options, environment, points).points.front().has_value());
  environment.num_nodes = 2;
  const std::string text = predict_points(options, environment, points).text;
  EXPECT_NE(text.find("the probe knows 1 node, not 2"), std::string::npos) << text;
}

// `auto` takes two levels if the network holds a step back, and otherwise it does not.
TEST(PredictPoints, AutoTakesTwoLevelsWhereTheNetworkBinds) {
  for (const double network : {125e6, 100e9}) {
    Probe probe = small_probe();
    probe.hardware.topology.dims = {4, 4};
    probe.hardware.topology.devices_per_node = 8;
    probe.hardware.topology.levels[1].bytes_per_s = network;
    const FoundProbe found(probe, file_of("probe_of_four_nodes"));
    Environment environment = environment_of(probe);
    environment.num_nodes = 4;
    BenchOptions options;
    options.mesh = MeshKind::mpi;
    Point point;
    point.config = {.shape = {4096, 2048, 64, 64, 8, 0, DType::bf16}, .spread = Spread::compact_psum};
    point.config.num_devices = 32;
    point.config.ranks_per_node = 8;
    point.path_is_auto = true;
    std::vector<Point> points = {point};
    const std::string text = predict_points(options, environment, points).text;
    const bool is_slow = network < 1e9;
    EXPECT_EQ(points.front().config.spread == Spread::hierarchical, is_slow) << text;
    EXPECT_EQ(text.find(" takes hierarchical, predicted") != std::string::npos, is_slow) << text;
  }
}

}  // namespace
}  // namespace moehill

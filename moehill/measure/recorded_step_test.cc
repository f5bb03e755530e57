// Tests that the step described by a record has the routing that was measured.
#include "moehill/measure/recorded_step.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/points.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

BenchOptions recorded_options() {
  BenchOptions options;
  options.shape = {96, 32, 16, 8, 2, 0, DType::bf16};
  options.seed = 7;
  return options;
}

Json record_of(const BenchOptions& options, const Point& point) {
  return {{"command", "bench"},
          {"config", json_of(recorded_config(options, point))},
          {"layout",
           {{"devices", point.config.num_devices}, {"threads_per_device", point.config.threads_per_device}}},
          {"time_s", {{"median", 0.5}}},
          {"check", {{"status", "passed"}}},
          {"peak", {{"tflops_measured", nullptr}, {"read_gbps", nullptr}}},
          {"stages", {{"forward", Json::object()}, {"backward", Json::object()}}}};
}

// `none` has one device, but its distribution may be hot or balanced over more.
TEST(RecordedStep, HasTheRoutingOfTheRecord) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_step.jsonl");
  for (const char* distribution : {"runs", "hot-device:0.7", "balanced", "zipf:1.1"}) {
    BenchOptions options = recorded_options();
    options.distributions = parse_distributions(distribution);
    options.modes = {ParallelMode::none, ParallelMode::ep};
    options.devices = 4;
    const std::vector<Point> points = expand_points(options, 4);
    std::ofstream file(path);
    for (const Point& point : points) file << record_of(options, point).dump() << "\n";
    file.close();
    const std::vector<RecordedStep> steps = steps_of_records(path);
    ASSERT_EQ(steps.size(), points.size()) << distribution;
    for (size_t i = 0; i < steps.size(); ++i) {
      const Routing measured = routing_of(points[i].config.shape, points[i].distribution, options.seed);
      EXPECT_EQ(steps[i].routing.expert, measured.expert) << distribution << ", " << points[i].label;
      EXPECT_EQ(steps[i].config.num_devices, points[i].config.num_devices) << distribution;
      EXPECT_EQ(steps[i].seed, options.seed) << distribution;
    }
  }
}

TEST(RecordedStep, HasTheWavesOfTheRecord) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_step.jsonl");
  BenchOptions options = recorded_options();
  options.modes = {ParallelMode::ep};
  options.ep_path = Spread::fused;
  options.devices = 2;
  for (const int waves : {0, 3}) {
    options.waves = waves;
    const Json record = record_of(options, expand_points(options, 4)[0]);
    EXPECT_EQ(record["config"].contains("waves"), waves > 0);
    std::ofstream(path) << record.dump() << "\n";
    const std::vector<RecordedStep> steps = steps_of_records(path);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0].config.num_waves, waves);
  }
}

// The trace of a record may have been replaced, and a record does not have all that a router reads.
TEST(RecordedStep, RefusesAnotherRoutingThanTheOneMeasured) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_loads.jsonl");
  const BenchOptions options = recorded_options();
  const Point point = expand_points(options, 2).front();
  const Routing routing = routing_of(point.config.shape, point.distribution, options.seed);
  Json record = record_of(options, point);
  record["load"] = json_of(load_statistics(expert_load(routing)));
  std::ofstream(path) << record.dump() << "\n";
  EXPECT_EQ(steps_of_records(path).front().routing.expert, routing.expert);
  for (const char* name : {"min", "max", "std"}) {
    Json other = record;
    other["load"][name] = 2 + other["load"][name].get<double>();
    if (name != std::string("std")) other["load"][name] = 2 + record["load"][name].get<int64_t>();
    std::ofstream(path) << other.dump() << "\n";
    try {
      steps_of_records(path);
      ADD_FAILURE() << name;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("assignments an expert"), std::string::npos) << error.what();
    }
  }
}

TEST(RecordedStep, HasThePeakOfItsDtypeWithItsInstructionAndTheBandwidth) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_peak.jsonl");
  const BenchOptions options = recorded_options();
  Json record = record_of(options, expand_points(options, 2).front());
  const auto read = [&] {
    std::ofstream(path) << record.dump() << "\n";
    return steps_of_records(path).front();
  };
  record["peak"] = {{"dtype", "bf16"},
                    {"instruction", "dot"},
                    {"tflops_measured", 1.5},
                    {"read_gbps", {{"median", 40}, {"min", 38}, {"max", 44}}}};
  EXPECT_EQ(read().peak_flops, 1.5e12);
  EXPECT_EQ(read().instruction, "dot");
  EXPECT_EQ(read().read_bytes_per_s, 40e9);
  record["peak"] = {{"tflops_measured", 1.5}, {"read_gbps", 41}};  // before 2026-11-28
  EXPECT_EQ(read().peak_flops, 1.5e12);
  EXPECT_EQ(read().instruction, "");
  EXPECT_EQ(read().read_bytes_per_s, 41e9);
}

// All nodes of a job read at once, and the model asks for the bandwidth of one.
TEST(RecordedStep, HasTheBandwidthOfANode) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_bandwidth.jsonl");
  BenchOptions options = recorded_options();
  options.modes = {ParallelMode::none, ParallelMode::ep};
  options.devices = 4;
  std::ofstream file(path);
  for (const Point& point : expand_points(options, 4)) {
    Json record = record_of(options, point);
    record["layout"]["nodes"] = 2;
    record["peak"] = {{"tflops_measured", 1.5}, {"read_gbps", 40}};
    file << record.dump() << "\n";
  }
  file.close();
  const std::vector<RecordedStep> steps = steps_of_records(path);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].read_bytes_per_s, 40e9) << "none is alone on the first node";
  EXPECT_EQ(steps[1].read_bytes_per_s, 20e9);
}

// Four processes on two hosts are not four devices of one node.
TEST(RecordedStep, NeedsHardwareWithItsNodes) {
  const auto accepts = [](int nodes, int ranks_per_node, int devices, const Hardware& hardware) {
    RecordedStep step;
    step.nodes = nodes;
    step.config.num_devices = devices;
    step.config.ranks_per_node = ranks_per_node;
    try {
      require_its_nodes(step, hardware);
      return true;
    } catch (const InputError&) {
      return false;
    }
  };
  Hardware one = load_hardware("epyc-2-core"), of_two = load_hardware("epyc-cluster");
  of_two.topology.devices_per_node = 2;
  EXPECT_TRUE(accepts(1, 0, 4, one)) << "they share its cores";
  EXPECT_TRUE(accepts(1, 2, 4, one)) << "one process, as if its devices were on two nodes";
  EXPECT_FALSE(accepts(2, 2, 4, one));
  EXPECT_TRUE(accepts(2, 2, 4, of_two));
  EXPECT_TRUE(accepts(2, 2, 3, of_two)) << "the last node may have fewer";
  EXPECT_FALSE(accepts(2, 3, 4, of_two));
  EXPECT_FALSE(accepts(1, 0, 4, of_two));
  EXPECT_TRUE(accepts(1, 0, 2, of_two));
  EXPECT_TRUE(accepts(1, 0, 1, of_two));
}

// Steps of one shape may differ in these.
TEST(RecordedStep, IsNamedByItsPassAndImplementation) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_names.jsonl");
  BenchOptions options = recorded_options();
  options.block.pass = Pass::forward;
  options.impls = {Impl::scatter};
  options.block.backend = Backend::ragged_dot;
  std::ofstream(path) << record_of(options, expand_points(options, 2).front()).dump() << "\n";
  EXPECT_EQ(steps_of_records(path).front().distribution, to_string(options.distributions.front()));
  const std::string label = steps_of_records(path).front().label;
  EXPECT_NE(label.find(" none, forward, scatter, ragged_dot"), std::string::npos) << label;
}

TEST(RecordedStep, HasNoSecondsWithoutAPassedCheck) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_check.jsonl");
  const BenchOptions options = recorded_options();
  Json record = record_of(options, expand_points(options, 2).front());
  record["stages"]["forward"] = {{"up", 0.25}};
  const auto read = [&] {
    std::ofstream(path) << record.dump() << "\n";
    return steps_of_records(path).front();
  };
  const RecordedStep checked = read();
  EXPECT_EQ(checked.time_s, 0.5);
  EXPECT_EQ(checked.stages.size(), 1u);
  for (const char* status : {"failed", "off", "mistrusted", ""}) {
    record["check"] = status == std::string() ? Json() : Json{{"status", status}};
    const RecordedStep step = read();
    EXPECT_EQ(step.time_s, 0) << status;
    EXPECT_TRUE(step.stages.empty()) << status;
    EXPECT_NE(step.label.find(", not timed: its check is "), std::string::npos) << step.label;
    EXPECT_EQ(step.routing.expert, checked.routing.expert) << status;
  }
}

TEST(RecordedStep, KnowsWhetherItsDevicesWereThreadsOrProcesses) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_memory.jsonl");
  const BenchOptions options = recorded_options();
  Json record = record_of(options, expand_points(options, 2).front());
  for (const auto& [mesh, memory] :
       {std::pair{"threads", DeviceMemory::shared}, std::pair{"mpi", DeviceMemory::apart}}) {
    record["layout"]["mesh"] = mesh;
    std::ofstream(path) << record.dump() << "\n";
    EXPECT_EQ(steps_of_records(path).front().memory, memory) << mesh;
  }
}

// The configuration says only how many devices a node has at most.
TEST(RecordedStep, RefusesNodesThatTheModelDoesNotHave) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_nodes.jsonl");
  BenchOptions options = recorded_options();
  options.modes = {ParallelMode::none, ParallelMode::ep};
  options.ep_path = Spread::hierarchical;
  options.devices = 4;
  options.ranks_per_node = 3;
  const std::vector<Point> points = expand_points(options, 4);
  ASSERT_EQ(points.size(), 2u);
  const auto put = [&](const Point& point, const std::vector<int>& node_of) {
    Json record = record_of(options, point);
    record["layout"]["mesh"] = "mpi";
    if (!node_of.empty()) record["layout"]["node_of"] = node_of;
    std::ofstream(path) << record.dump() << "\n";
  };
  put(points[1], {});
  EXPECT_EQ(steps_of_records(path).front().config.ranks_per_node, 3);
  put(points[0], {0, 1, 1, 1});
  EXPECT_EQ(steps_of_records(path).size(), 1u) << "one device is on one node";
  put(points[1], {0, 1, 1, 1});
  try {
    steps_of_records(path);
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("layout.node_of: got 0,1,1,1"), std::string::npos)
        << error.what();
  }
}

TEST(RecordedStep, HasEveryOptionOfThePoint) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_options.jsonl");
  BenchOptions options = recorded_options();
  options.modes = {ParallelMode::ep};
  options.devices = 2;
  options.shape.shared_dim = 5;
  options.block.capacity = {CapacityPolicy::pad, 1.5};
  options.block.blocks = parse_blocks("bt=64");
  options.block.pass = Pass::forward;
  options.block.router_grad = options.block.shared_fused = true;
  options.impls = {Impl::scatter};
  options.queue_modes = {QueueMode::prequeue};
  options.shared_placement = SharedPlacement::replicated;
  for (const Spread spread : kEpPaths) {
    options.ep_path = spread;
    options.split_rows = spread == Spread::ring_ag_rs ? Switch::on : Switch::off;
    const Point point = expand_points(options, 2).front();
    std::ofstream(path) << record_of(options, point).dump() << "\n";
    Json was = json_of(recorded_config(options, point)), is;
    Point again = point;
    again.config = steps_of_records(path).front().config;
    is = json_of(recorded_config(options, again));
    EXPECT_EQ(was, is) << name_of(spread);
  }
}

TEST(RecordedStep, RefusesWhatIsNoPoint) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_bad.jsonl");
  const BenchOptions options = recorded_options();
  for (const auto& [field, value] :
       {std::pair<std::string, Json>{"topk", 9}, {"impl", "faster"}, {"tokens", "many"}}) {
    Json record = record_of(options, expand_points(options, 2).front());
    record["config"][field] = value;
    std::ofstream(path) << record.dump() << "\n";
    EXPECT_THROW(steps_of_records(path), InputError) << field;
  }
}

// Each of these would divide by zero, need spares that a routing does not have, or ask a router for more
// choices than it can rank.
TEST(RecordedStep, RefusesCapacitiesAndDistributionsThatNoRunHas) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_capacity.jsonl");
  const BenchOptions options = recorded_options();
  Json good = record_of(options, expand_points(options, 2).front());
  good["config"]["capacity_policy"] = "drop";
  good["config"]["capacity_factor"] = 1;
  const std::vector<Json> changes = {{{"distribution", "balanced"}, {"distribution_devices", 0}},
                                     {{"distribution", "hot-device:0.5"}, {"distribution_devices", 0}},
                                     {{"capacity_order", "gate"}, {"capacity_pool", 0}},
                                     {{"capacity_order", "gate"}, {"capacity_pool", 9}},
                                     {{"capacity_order", "gate"}, {"capacity_sources", 0}},
                                     {{"capacity_order", "gate"}, {"capacity_sources", 97}},
                                     {{"capacity_order", "gate"}, {"capacity_spares", -1}},
                                     {{"capacity_order", "gate"}, {"capacity_spares", 7}},
                                     {{"capacity_spares", 1}, {"distribution", "trace:none.jsonl"}},
                                     {{"capacity_spares", 1}, {"distribution", "W4"}},
                                     {{"capacity_spares", 1}, {"experts", 2048}, {"topk", 1024}}};
  std::ofstream(path) << good.dump() << "\n";
  EXPECT_EQ(steps_of_records(path).size(), 1u);
  for (const Json& change : changes) {
    Json record = good;
    record["config"].update(change);
    std::ofstream(path) << record.dump() << "\n";
    EXPECT_THROW(steps_of_records(path), InputError) << change;
  }
}

TEST(RecordedStep, RefusesARoutingThatTakesHours) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_long.jsonl");
  const BenchOptions options = recorded_options();
  const Json good = record_of(options, expand_points(options, 2).front());
  const std::vector<Json> changes = {
      {{"tokens", 1000000000}, {"experts", 1000}, {"topk", 1}},
      {{"tokens", 1000000}, {"experts", 4096}, {"topk", 1024}},
      {{"tokens", 1024}, {"experts", 4096}, {"topk", 1024}, {"router", "sparsemixer"}},
      {{"tokens", 1}, {"experts", 2048}, {"topk", 1024}, {"router", "softmax,hash:16777216"}}};
  for (const Json& change : changes) {
    Json record = good;
    record["config"].update(change);
    std::ofstream(path) << record.dump() << "\n";
    try {
      steps_of_records(path);
      ADD_FAILURE() << change;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("logits and comparisons"), std::string::npos) << error.what();
    }
  }
}

// The second routing has 2^20 (1008 + 4 * 4) = 2^30 logits and comparisons, which a file may have in all.
TEST(RecordedStep, TheRoutingsOfAllLinesAreLimitedTogether) {
  const TemporaryFolder folder;
  const std::string path = folder.file("recorded_many.jsonl");
  const BenchOptions options = recorded_options();
  const Json small = record_of(options, expand_points(options, 2).front());
  const Json change = {{"tokens", 1 << 20}, {"experts", 1008}, {"topk", 4}};
  Json large = small;
  large["config"].update(change);
  std::ofstream(path) << small.dump() << "\n" << large.dump() << "\n";
  try {
    steps_of_records(path);
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(":2: the routing of its tokens"), std::string::npos) << message;
    EXPECT_NE(message.find("at most 1073741824 in all lines"), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace moehill

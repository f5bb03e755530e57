// Implements recorded_step.h: reads records of bench, checks their numbers like options, since a record may
// come from anywhere, and makes the routing of each step again.
#include "moehill/measure/recorded_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/measure/points.h"
#include "moehill/record/record.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

// One thread makes the routings of all records. It takes about half a minute for this many logits and
// comparisons, and the routings have at most half as many assignments, of 8 bytes each.
constexpr int64_t kMostRoutingSteps = 1 << 30;

// Refuses a routing that takes long to make again, and adds it to those of the `earlier` lines, since many
// short ones take as long. The sizes are the records', not ones that their reader chose.
void refuse_long_routing(const MoeShape& shape, double& earlier) {
  const double tokens = static_cast<double>(shape.tokens), ids = static_cast<double>(shape.router.hash_ids),
               logits = shape.num_logits(), pairs = static_cast<double>(shape.topk) * shape.topk;
  // sparsemixer looks at all logits for each choice, and for each logit at the choices before.
  const bool mixes = shape.router.score == RouterScore::sparsemixer;
  const double steps = tokens * (mixes ? logits * pairs : logits + pairs) + ids * pairs;
  earlier += steps;
  if (earlier <= static_cast<double>(kMostRoutingSteps)) return;
  throw input_error(
      "the routing of its tokens, experts and topk",
      fmt::format("{:.3g} logits and comparisons, {:.3g} with those of earlier lines", steps, earlier),
      fmt::format("at most {} in all lines", kMostRoutingSteps),
      "take fewer records, or those of smaller runs");
}

// Refuses a step whose devices are on nodes in a way that RunConfig cannot describe, because the model would
// count the bytes of another way.
void refuse_irregular_nodes(const Record& record) {
  const std::vector<int>& nodes = record.layout.node_of;
  if (nodes.empty() || record.config.run.num_devices == 1) return;
  throw input_error("layout.node_of", fmt::format("{}", fmt::join(nodes, ",")),
                    "nodes that have equally many neighbouring devices, the last perhaps fewer: the model "
                    "has no others",
                    "leave this record out, or take one of a job whose processes are placed so");
}

// Refuses a routing that is not the one that was measured, by the loads of its experts. A trace's file may
// have been replaced, and a record has neither the logits of --router product nor the biases of --weights.
void refuse_other_routing(const Record& record, const Routing& routing) {
  const LoadStatistics &was = record.load, is = load_statistics(expert_load(routing));
  const bool is_known = was.max > 0;  // by records that have loads
  if (!is_known || (was.min == is.min && was.max == is.max && std::abs(was.std - is.std) <= 1e-9 * was.std))
    return;
  const auto text = [](const LoadStatistics& load) {
    return fmt::format("{} to {} assignments an expert, deviation {:.6g}", load.min, load.max, load.std);
  };
  throw input_error(
      "load", text(was), text(is) + ", as the options of the record route",
      "take a record whose trace is still there, and one without --weights and --router product");
}

// `routing_steps` are those of the lines before this record; its own are added.
RecordedStep step_of(const Record& record, double& routing_steps) {
  RecordedStep step;
  // The record may come from anywhere, so its numbers are checked like options.
  step.config = record.config.run;
  RunConfig::fields(step.config, RangeCheck{});
  MoeShape::fields(step.config.shape, RangeCheck{});
  BlockOptions::fields(record.config.run.block, RangeCheck{});
  DistributionOptions::fields(record.config.distribution, RangeCheck{});
  refuse_topk(step.config.shape.topk, step.config.shape.experts);
  refuse_overflow(step.config.shape, step.config.block.capacity);
  refuse_capacity(step.config, record.config.distribution);
  refuse_long_routing(step.config.shape, routing_steps);
  refuse_irregular_nodes(record);
  const BlockOptions& block = step.config.block;
  step.label = fmt::format("{} {}, {}, {}", to_string(step.config.shape), name_of(step.config.spread),
                           name_of(block.pass), name_of(block.impl));
  if (block.backend != Backend::gmm) step.label += fmt::format(", {}", name_of(block.backend));
  step.distribution = to_string(record.config.distribution);
  step.seed = record.config.measuring.seed;
  step.routing =
      routing_of(step.config.shape, record.config.distribution, step.seed, step.config.block.capacity.spares);
  refuse_other_routing(record, step.routing);
  // With a placement the step ran over places, and its routing has to name them.
  if (!step.config.placement.empty()) {
    require_placement("--record", {step.config.placement}, step.config.shape.experts,
                      step.config.num_devices);
    step.routing = place(step.routing, {step.config.placement});
    step.config = over_places(step.config);
  }
  step.memory = device_memory(record.layout.mesh);
  step.peak_flops = 1e12 * record.peak.tflops_measured.value_or(0);
  step.instruction = record.peak.instruction.value_or("");
  // All processes of the job read at once. `none` runs in the first one alone.
  step.nodes = step.config.num_devices == 1 ? 1 : std::max(1, record.layout.nodes);
  step.read_bytes_per_s = 1e9 * record.peak.read_gbps.median.value_or(0) / step.nodes;
  // Without a passed check the seconds are no result, so the step counts as one that was not timed.
  if (record.check.status != CheckStatus::passed) {
    step.label += fmt::format(", not timed: its check is {}", name_of(record.check.status));
    return step;
  }
  step.time_s = record.time_s.median.value_or(0);
  for (const NamedNumbers* stages : {&record.stages.forward, &record.stages.backward}) {
    for (const auto& [stage, seconds] : *stages) step.stages.push_back({stage, seconds});
  }
  return step;
}

}  // namespace

std::vector<RecordedStep> steps_of_records(const std::string& path) {
  const InputFile source{"--record", path, "records of moehill bench", "write them by moehill bench --json"};
  std::ifstream file;
  if (path != "-") file = open_input_file(source);
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<RecordedStep> steps;
  int line_number = 0;
  double routing_steps = 0;
  for (std::string line; read_input_line(in, line, source);) {
    ++line_number;
    if (line.empty()) continue;
    try {
      const auto json = parse_strict_json<Json>(line, {"the line", source.remedy});
      if (json.value("command", Json()) != "bench" || is_ablated(json)) continue;
      Record record;
      read_fields(json, record);
      steps.push_back(step_of(record, routing_steps));
    } catch (const InputError& error) {
      throw error_at(fmt::format("--record {}:{}", quoted(path, 80), line_number), error.what());
    }
  }
  if (steps.empty())
    throw input_error("--record", quoted(path, 200) + " without a record of bench", "at least one",
                      "write one by moehill bench --json");
  return steps;
}

void require_its_nodes(const RecordedStep& step, const Hardware& hardware) {
  const RunConfig& config = step.config;
  const ClusterTopology& topology = hardware.topology;
  const int of_node = topology.devices_per_node, devices = config.num_devices;
  const int nodes = topology.has_network() ? (devices + of_node - 1) / of_node : 1;
  // Without a network all devices are on one node, whose cores they may share.
  if (nodes == step.nodes && (nodes == 1 || config.ranks_per_node == of_node)) return;
  const auto in_words = [devices](int num, int each) {
    return num == 1 ? fmt::format("{} on one node", devices)
                    : fmt::format("{} on {} nodes, {} on each", devices, num, each);
  };
  throw input_error(
      "--hardware", fmt::format("{}, whose devices would be {}", hardware.name, in_words(nodes, of_node)),
      fmt::format("hardware with the devices of the record: {}", in_words(step.nodes, config.ranks_per_node)),
      "name such a file, or take the probe of a job that is started like the one recorded");
}

}  // namespace moehill

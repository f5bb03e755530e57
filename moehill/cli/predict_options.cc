// Implementation of cli/predict_options.h: the options of a point that is predicted and not run.
#include "moehill/cli/predict_options.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/cli/presets.h"
#include "moehill/predict/pick_score.h"
#include "moehill/quiet/environment.h"

namespace moehill {
namespace {

// Declares a point, with the options of its spread by `declare_ways`.
void declare_point_by(void (*declare_ways)(OptionSet&, BenchOptions&), OptionSet& set,
                      PredictOptions& options) {
  BenchOptions& o = options.bench;
  declare_preset(set, &o.preset);
  declare_config(set, &o.config);
  set.fields(&o.shape, {"tokens", "hidden", "mlp_dim", "experts", "topk", "shared_expert_dim", "dtype"});
  declare_expert_form(set, &o.shape.form);
  declare_distribution(set, &o.distributions);
  set.fields(&o.block, {"bench_pass"});
  declare_ways(set, o);
  declare_layout(set, o, "the hardware's");
  set.fields(&o, {"seed"});
  declare_hardware(set, &options.hardware);
  set.input("--probe", &options.probe, "FILE", "another file of a probe, for --hardware this");
}

}  // namespace

void declare_point(OptionSet& set, PredictOptions& options) {
  declare_point_by(declare_spread, set, options);
}

void declare_ep_point(OptionSet& set, PredictOptions& options) {
  options.bench.modes = {ParallelMode::ep};
  declare_point_by(declare_ep_path, set, options);
}

void declare_hardware(OptionSet& set, std::string* hardware) {
  set.custom("--hardware", "NAME|FILE", *hardware,
             "this (or probe): this machine, by its probe; a built-in name (a wrong one lists them); one in "
             "$MOEHILL_HARDWARE; or a path",
             [hardware](const std::string& text) { *hardware = text == "this" ? "probe" : text; });
}

void declare_nodes(OptionSet& set, int64_t* nodes) {
  set.custom("--nodes", "1..4096", "by the devices",
             "number of nodes with all their devices, in place of --devices",
             [nodes](const std::string& text) { *nodes = parse_integer("--nodes", text, 1, 4096); });
}

void refuse_unused(const OptionSet& set, const PredictOptions& options) {
  if (options.bench.distributions.size() > 1)
    throw input_error("--distribution", "several", "one", "look at them one by one");
  if (set.given("--probe") && options.hardware != "probe")
    throw usage_error(fmt::format("--probe needs --hardware probe (or this), and not {}",
                                  moehill::quoted(options.hardware)),
                      "leave one of the two out");
}

void refuse_seed_of_trace(const OptionSet& set, const DistributionOptions& distribution) {
  if (set.given("--seed") && distribution.kind == Distribution::trace)
    throw usage_error("--seed cannot be used with a trace, which has choices and gate values already",
                      "leave it out");
}

void resolve_point(const OptionSet& set, PredictOptions& options) {
  BenchOptions& o = options.bench;
  apply_model(set, o);
  refuse_unused(set, options);
  const bool has_wire = o.wire != Wire::native,
             has_ep = std::find(o.modes.begin(), o.modes.end(), ParallelMode::ep) != o.modes.end();
  // A command of ep alone has no --parallel-mode to ask for.
  if (!has_ep && !set.given("--parallel-mode") && (set.given("--ep-path") || has_wire))
    o.modes = {ParallelMode::ep};
  else if (!has_ep && (o.ep_path || has_wire))
    throw usage_error(fmt::format("{} needs --parallel-mode ep or both", has_wire ? "--wire" : "--ep-path"),
                      "add --parallel-mode ep or leave it out");
  if (options.nodes > 0 && set.given("--devices"))
    throw usage_error("--nodes cannot be used with --devices", "leave one of the two out");
}

ChosenHardware choose_hardware(const PredictOptions& options) {
  return choose_hardware(options.hardware, options.probe);
}

ChosenHardware choose_hardware(const std::string& name, const std::string& probe) {
  if (name != "probe") return {load_hardware(name), ""};
  const ProbedHardware probed = probed_hardware(detect_environment(), probe);
  if (!probed.hardware)
    throw input_error("--hardware", "probe, and " + probed.note,
                      "a probe of this machine, or a hardware file",
                      "run moehill probe, or name a file by --hardware");
  return {*probed.hardware, probed.note};
}

namespace {

// Throws InputError if the devices of a node have more units than the node, which nothing could predict.
void refuse_more_units(const RunConfig& config, const Hardware& hardware, int64_t units_of_node) {
  const int together = std::min(config.num_devices, hardware.topology.devices_per_node);
  if (int64_t{config.threads_per_device} * together <= units_of_node) return;
  throw input_error(
      "--threads-per-device",
      fmt::format("{} for {} of a node", config.threads_per_device, count_text(together, "device")),
      fmt::format("{} a node of {} at most", count_text(units_of_node, name_of(hardware.unit)),
                  hardware.name),
      "choose fewer, or fewer --devices");
}

}  // namespace

RunConfig predicted_config(const PredictOptions& options, const Hardware& hardware, ParallelMode mode) {
  const BenchOptions& o = options.bench;
  if (o.shape.topk > o.shape.experts)
    throw input_error("--topk", std::to_string(o.shape.topk),
                      fmt::format("1 to {}, the number of experts", o.shape.experts), "choose fewer");
  RunConfig config;
  config.shape = o.shape;
  config.shape.router = used_router(o.shape.router, o.distributions.front());
  refuse_overflow(config.shape, o.block.capacity);
  config.block.pass = o.block.pass;
  config.spread = spread_of(mode, o.ep_path.value_or(default_path(o.shape, o.wire)));
  const int per_node = hardware.topology.devices_per_node,
            // Without --devices the point has whole nodes. Without threads a device has the units that the
            // hardware gives it.
      nodes = static_cast<int>(std::max<int64_t>(1, options.nodes));
  if (nodes > 1 && hardware.topology.levels.size() < 2)
    throw input_error("--nodes", std::to_string(nodes), "1 of " + hardware.name + ", which has no network",
                      "name a cluster by --hardware, such as epyc-cluster");
  const int devices = o.devices > 0 ? static_cast<int>(o.devices) : nodes * per_node;
  // Devices of this machine may share its cores, so any number of them is possible. Other hardware has only
  // the devices of its file.
  const bool of_probe = options.hardware == "probe", spread = mode != ParallelMode::none;
  if (!of_probe) require_devices(hardware, devices, nodes > 1);
  const int units =
      o.threads_per_device > 0 ? static_cast<int>(o.threads_per_device) : hardware.units_per_device;
  // One device can take all cores, so `none` is compared with equal means. A chip cannot take the work of
  // several chips.
  config.num_devices = spread ? devices : 1;
  if (config.num_devices > per_node && hardware.topology.has_network()) config.ranks_per_node = per_node;
  if (is_ep(config.spread)) config.wire = o.wire;
  refuse_unbuilt(config);
  // The one device of `none` lives in one node, whose memory it uses. On this machine it has no more threads
  // than there are cores, as in bench.
  config.threads_per_device = spread || hardware.is_chip() ? units : units * std::min(devices, per_node);
  const int64_t in_node = int64_t{per_node} * hardware.units_per_device;
  if (of_probe && !spread)
    config.threads_per_device = static_cast<int>(std::min<int64_t>(config.threads_per_device, in_node));
  if (!of_probe) refuse_more_units(config, hardware, in_node);
  return config;
}

Routing predicted_routing(const PredictOptions& options, const MoeShape& shape, const Hardware& hardware) {
  DistributionOptions distribution = options.bench.distributions.front();
  distribution.devices = predicted_config(options, hardware, ParallelMode::ep).num_devices;
  const RouterRule rule = used_router(shape.router, distribution);
  refuse_impossible(distribution, num_logits(rule, shape.experts), shape.topk, rule.zero_experts);
  return routing_of(shape, distribution, options.bench.seed);
}

std::string error_of_model(const PredictOptions& options) {
  if (options.hardware != "probe")
    return "How far the model is off on this hardware is not known: nothing has been measured there.";
  return error_of_model(read_scores(default_score_file()), detect_environment());
}

std::string peak_line(const Hardware& h, DType dtype) {
  const std::string& instruction = h.instruction(dtype);
  return fmt::format("a {}: {} {:.1f} GF/s{}; a node's memory {:.1f} GB/s\n", name_of(h.unit),
                     dtype_name(dtype), h.peak(dtype) / 1e9,
                     instruction.empty() ? "" : " (" + instruction + ")", h.node_memory_bytes_per_s / 1e9);
}

}  // namespace moehill

// Implementation of cli/simulate_options.h: the declarations of the options, and the rules between them.
#include "moehill/cli/simulate_options.h"

#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/cli/predict_options.h"
#include "moehill/cli/presets.h"
#include "moehill/measure/points.h"

namespace moehill {
namespace {

constexpr int64_t kMaxDim = std::numeric_limits<int32_t>::max();

OptionSet simulate_option_set(SimulateOptions& o) {
  OptionSet set(
      "moehill simulate", "Simulates a step on a cluster: the plans and messages of a real routing.",
      {"moehill simulate --hardware epyc-cluster --devices 64 --preset olmoe-1b-7b",
       "moehill simulate --devices 256 --preset deepseek-v3 --tokens-per-device 4096 --compare-paths",
       "moehill simulate --devices 16 --preset qwen3-30b-a3b --scaling weak --distribution zipf:0.5"});
  declare_hardware(set, &o.hardware);
  set.integer("--devices", &o.devices, 1, kMostSimulatedDevices, "devices P");
  declare_nodes(set, &o.nodes);
  declare_preset(set, &o.preset);
  declare_config(set, &o.config);
  set.integer("--tokens", &o.shape.tokens, 0, kMaxDim, "tokens T of all devices; 0: by --tokens-per-device");
  set.integer("--tokens-per-device", &o.tokens_per_device, 1, kMaxDim,
              "tokens of a step that each device brings");
  set.fields(&o.shape, {"hidden", "mlp_dim", "experts", "topk", "shared_expert_dim", "dtype"});
  declare_expert_form(set, &o.shape.form);
  set.choice("--bench-pass", &o.pass, "the passes of a step");
  set.custom("--distribution", kDistributionForms, "random",
             "one distribution of the router's logits, or a trace to replay; docs/metrics.md",
             [&o](const std::string& text) {
               const std::vector<DistributionOptions> parsed = parse_distributions(text);
               if (parsed.size() > 1) {
                 throw input_error("--distribution", quoted(text), "one distribution",
                                   "simulate them one by one");
               }
               o.distribution = parsed.front();
             });
  set.choice("--ep-path", &o.path, "how the block is spread; dp: experts replicated", Spread::dp);
  set.choice("--wire", &o.wire, kWireHelp);
  set.flag("--compare-paths", &o.compare_paths, "every path, the fastest first");
  set.choice("--scaling", &o.scaling,
             "also simulate 1, 2, 4, ... devices; weak: equal tokens a device, strong: equal tokens in all");
  set.integer("--exact-devices", &o.exact_devices, 2, kMostSimulatedDevices,
              "with more devices, groups of devices exchange messages as one");
  set.integer("--grouping", &o.grouping, 0, kMostSimulatedDevices,
              "devices of a group (whole nodes), which sends as one; 1: no groups, 0: by --exact-devices");
  set.choice("--collective-form", &o.form, "by which steps the collectives of a stage are sent");
  set.integer("--seed", &o.seed, 0, 4294967295, "seed of the routing");
  set.integer(
      "--validate", &o.validate, 0, 1000,
      "compare with this many random shapes, run here on 2 and 4 devices; --hardware is then the probe");
  set.input("--record", &o.record, "FILE",
            "simulate the steps of these records of bench on --hardware, and compare");
  set.output("--json", &o.json, "FILE",
             "one record for each path or size; - is standard output, the tables then go to standard error");
  return set;
}

// Throws InputError for options of the shape if there are runs to compare with, since these have a shape.
void refuse_shape_of_runs(const OptionSet& set, const SimulateOptions& o) {
  if (o.validate > 0 && !o.record.empty())
    throw usage_error("--validate cannot be used with --record", "leave one of the two out");
  for (const std::string& name : set.names()) {
    const bool used = name == "--validate" || name == "--record" || name == "--hardware" ||
                      (name == "--seed" && o.validate > 0);
    if (!used && set.given(name))
      throw usage_error(
          fmt::format("{} cannot be used with runs to compare with, which have a shape already", name),
          "leave it out");
  }
}

void refuse_contradictions(const OptionSet& set, const SimulateOptions& o) {
  refuse_seed_of_trace(set, o.distribution);
  if (o.shape.tokens > 0 && set.given("--tokens-per-device")) {
    throw usage_error("--tokens cannot be used with --tokens-per-device", "leave one of the two out");
  }
  if (o.shape.tokens > 0 && o.scaling == Scaling::weak) {
    throw usage_error("--tokens cannot be used with --scaling weak, which keeps the tokens of a device",
                      "use --tokens-per-device");
  }
  if (o.compare_paths && set.given("--ep-path")) {
    throw usage_error("--ep-path cannot be used with --compare-paths", "leave one of the two out");
  }
  if (o.compare_paths && o.scaling != Scaling::none) {
    throw usage_error("--scaling needs one path, and --compare-paths has several", "choose it by --ep-path");
  }
  if (set.given("--grouping") && set.given("--exact-devices"))
    throw usage_error("--grouping cannot be used with --exact-devices", "leave one of the two out");
  refuse_unbuilt(
      o.largest(o.wire == Wire::native ? 0 : choose_hardware(o.hardware).hardware.topology.devices_per_node));
  if (o.shape.topk > o.shape.experts) {
    throw input_error("--topk", std::to_string(o.shape.topk),
                      fmt::format("1 to {}, the number of experts", o.shape.experts),
                      fmt::format("use --topk {}", o.shape.experts));
  }
  // The groups of a preset's router need not divide another number of experts.
  refuse_impossible(used_router(o.shape.router, o.distribution), o.shape.experts, o.shape.topk);
  MoeShape shape = o.shape;
  shape.tokens = o.tokens_at(o.devices);
  refuse_overflow(shape, {}, kMaxClusterElements);
}

}  // namespace

std::optional<SimulateOptions> parse_simulate_options(const std::vector<std::string>& args) {
  SimulateOptions o;
  OptionSet set = simulate_option_set(o);
  if (!set.parse(args)) return std::nullopt;
  if (const auto block = chosen_model(o.preset, o.config)) {
    take_shape(set, *block, o.shape);
    o.shape.router = block->shape.router;
  }
  if (o.validate > 0 || !o.record.empty()) {
    refuse_shape_of_runs(set, o);
    if (!set.given("--hardware")) o.hardware = "probe";
    return o;
  }
  if (o.nodes > 0) {
    if (set.given("--devices"))
      throw usage_error("--nodes cannot be used with --devices", "leave one of the two out");
    o.devices = o.nodes * choose_hardware(o.hardware).hardware.topology.devices_per_node;
    if (o.devices > kMostSimulatedDevices)
      throw input_error("--nodes", std::to_string(o.nodes),
                        fmt::format("at most {} devices", kMostSimulatedDevices), "take fewer");
  }
  refuse_contradictions(set, o);
  return o;
}

}  // namespace moehill

// Options of a point that is not run.
#include "moehill/cli/predict_options.h"

#include <limits>

#include "moehill/base/error.h"
#include "moehill/cli/choice_names.h"
#include "moehill/cli/presets.h"

namespace moehill {

void declare_point(OptionSet& set, PredictOptions& options) {
  constexpr int64_t kMaxDim = std::numeric_limits<int32_t>::max();
  BenchOptions& o = options.bench;
  std::vector<Named<std::string>> names;
  for (const Preset& preset : presets()) names.push_back({preset.name, preset.name});
  set.choice("--preset", &o.preset, names, "block of a known model; single options override it");
  set.integer("--tokens", &o.tokens, 1, kMaxDim, "tokens T");
  set.integer("--hidden", &o.hidden, 1, kMaxDim, "model width H");
  set.integer("--mlp-dim", &o.mlp_dim, 1, kMaxDim, "width M of a routed expert");
  set.integer("--experts", &o.experts, 1, 65536, "routed experts E");
  set.integer("--topk", &o.topk, 1, 1024, "experts per token k");
  set.integer("--shared-expert-dim", &o.shared_dim, 0, kMaxDim, "width S of the shared expert; 0: none");
  set.choice("--dtype", &o.dtype, dtype_names(), "storage; accumulation is f32");
  declare_distribution(set, &o.distributions);
  set.choice("--bench-pass", &o.pass, pass_names(), "what a step is");
  set.choice("--parallel-mode", &o.modes, mode_names(), "none, dp, ep, or both none and ep");
  set.choice("--ep-path", &o.ep_path, path_names(),
             "how devices exchange rows; auto: the one predicted fastest");
  const auto count = [&](const std::string& name, int64_t* value, const std::string& help) {
    set.custom(name, "1..1024", "the hardware's", help,
               [=](const std::string& text) { *value = parse_integer(name, text, 1, 1024); });
  };
  count("--devices", &o.devices, "devices P");
  count("--threads-per-device", &o.threads_per_device, "cores (or chips) of a device");
  set.custom("--seed", "0..4294967295", "0", "seed of the routing", [&o](const std::string& text) {
    o.seed = static_cast<uint32_t>(parse_integer("--seed", text, 0, 4294967295));
  });
  set.text("--hardware", &options.hardware, "NAME", "probe: this machine; a shipped file's name, or a path");
  set.text("--probe", &options.probe, "FILE", "the probe's file");
}

ChosenHardware choose_hardware(const PredictOptions& options) {
  if (options.hardware != "probe") return {load_hardware(options.hardware), ""};
  const ProbedHardware probed = probed_hardware(detect_environment(), options.probe);
  if (!probed.hardware)
    throw input_error("--hardware", "probe, and " + probed.note,
                      "a probe of this machine, or a hardware file",
                      "run moehill probe, or name a file by --hardware");
  return {*probed.hardware, probed.note};
}

RunConfig predicted_config(const PredictOptions& options, const Hardware& hardware, ParallelMode mode) {
  const BenchOptions& o = options.bench;
  if (o.topk > o.experts)
    throw input_error("--topk", std::to_string(o.topk),
                      fmt::format("1 to {}, the number of experts", o.experts), "choose fewer");
  RunConfig config;
  config.shape = {o.tokens,     o.hidden, o.mlp_dim, static_cast<int>(o.experts), static_cast<int>(o.topk),
                  o.shared_dim, o.dtype};
  refuse_overflow(config.shape, o.capacity);
  config.block.pass = o.pass;
  config.mode = mode;
  config.path = o.ep_path.value_or(EpPath::compact_psum);
  const int devices = o.devices > 0 ? static_cast<int>(o.devices) : hardware.topology.devices_per_node;
  const int units =
      o.threads_per_device > 0 ? static_cast<int>(o.threads_per_device) : hardware.units_per_device;
  const bool spread = mode != ParallelMode::none;
  // A chip alone cannot have the work of several; cores can be one device.
  config.num_devices = spread ? devices : 1;
  config.threads_per_device = spread || hardware.is_chip() ? units : units * devices;
  return config;
}

Routing predicted_routing(const PredictOptions& options, const MoeShape& shape, const Hardware& hardware) {
  DistributionOptions distribution = options.bench.distributions.front();
  distribution.devices = predicted_config(options, hardware, ParallelMode::ep).num_devices;
  refuse_impossible(distribution, shape.experts, shape.topk);
  return routing_of(shape, distribution, options.bench.seed);
}

std::string peak_line(const Hardware& h, DType dtype) {
  const std::string& instruction = h.instruction(dtype);
  return fmt::format("a {}: {} {:.1f} GF/s{}; a node's memory {:.1f} GB/s\n", h.unit, dtype_name(dtype),
                     h.peak(dtype) / 1e9, instruction.empty() ? "" : " (" + instruction + ")",
                     h.node_memory_bytes_per_s / 1e9);
}

}  // namespace moehill

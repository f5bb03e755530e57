#include "moehill/cli/simulate_options.h"

#include <limits>

#include "moehill/base/error.h"
#include "moehill/cli/choice_names.h"
#include "moehill/cli/presets.h"

namespace moehill {
namespace {

constexpr int64_t kMaxDim = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxDevices = 4096;

std::vector<Named<Spread>> spread_names() {
  std::vector<Named<Spread>> names;
  for (int i = static_cast<int>(Spread::dp); i < kNumSpreads; ++i) {
    names.push_back({name_of(static_cast<Spread>(i)), static_cast<Spread>(i)});
  }
  return names;
}

OptionSet simulate_option_set(SimulateOptions& o) {
  OptionSet set(
      "moehill simulate", "Simulates a step on a cluster: the plans and messages of a real routing.",
      {"moehill simulate --hardware epyc-cluster --devices 64 --preset olmoe-1b-7b",
       "moehill simulate --devices 256 --preset deepseek-v3 --tokens-per-device 4096 --compare-paths",
       "moehill simulate --devices 16 --preset qwen3-30b-a3b --scaling weak --distribution zipf:0.5"});
  set.text("--hardware", &o.hardware, "NAME",
           "hardware file, by path or by the name of a shipped one; probe: this machine");
  set.integer("--devices", &o.devices, 1, kMaxDevices, "devices P");
  std::vector<Named<std::string>> names;
  for (const Preset& preset : presets()) names.push_back({preset.name, preset.name});
  set.choice("--preset", &o.preset, names, "block of a known model; single options override it");
  set.integer("--tokens", &o.tokens, 0, kMaxDim, "tokens T of all devices; 0: by --tokens-per-device");
  set.integer("--tokens-per-device", &o.tokens_per_device, 1, kMaxDim, "T / P");
  set.integer("--hidden", &o.hidden, 1, kMaxDim, "model width H");
  set.integer("--mlp-dim", &o.mlp_dim, 1, kMaxDim, "width M of a routed expert");
  set.integer("--experts", &o.experts, 1, 65536, "routed experts E");
  set.integer("--topk", &o.topk, 1, 1024, "experts per token k");
  set.integer("--shared-expert-dim", &o.shared_dim, 0, kMaxDim, "width S of the shared expert; 0: none");
  set.choice("--dtype", &o.dtype, dtype_names(), "storage");
  set.choice("--bench-pass", &o.pass, pass_names(), "what a step is");
  std::vector<DistributionOptions> one = {o.distribution};
  set.custom("--distribution", "random|runs|balanced|zipf:S|hot-experts:N,F|hot-device:F", "random",
             "distribution of the router's logits", [&o](const std::string& text) {
               const std::vector<DistributionOptions> parsed = parse_distributions(text);
               if (parsed.size() > 1) {
                 throw input_error("--distribution", text, "one distribution", "simulate them one by one");
               }
               o.distribution = parsed.front();
             });
  set.choice("--ep-path", &o.path, spread_names(), "how the block is spread; dp: experts replicated");
  set.flag("--compare-paths", &o.compare_paths, "every path, the fastest first");
  set.choice("--scaling", &o.scaling,
             std::vector<Named<Scaling>>{
                 {"none", Scaling::none}, {"weak", Scaling::weak}, {"strong", Scaling::strong}},
             "also at 1, 2, 4, ... devices; weak: tokens per device stay, strong: tokens stay");
  set.integer("--exact-devices", &o.exact_devices, 2, kMaxDevices,
              "with more devices, messages between groups of them are aggregated");
  set.custom("--seed", "0..4294967295", "0", "seed of the routing", [&o](const std::string& text) {
    o.seed = static_cast<uint32_t>(parse_integer("--seed", text, 0, 4294967295));
  });
  set.integer("--validate", &o.validate, 0, 1000,
              "run so many random shapes here on 2 and 4 devices and compare; --hardware is then the probe");
  set.text("--record", &o.record, "FILE",
           "records of moehill bench: simulate their steps on --hardware and compare");
  set.text("--json", &o.json, "FILE",
           "one record a simulated path or size; - is standard output, the tables then go to standard error");
  return set;
}

// What is compared with runs says itself what is run.
void refuse_shape_of_runs(const OptionSet& set, const SimulateOptions& o) {
  if (o.validate > 0 && !o.record.empty())
    throw input_error("--validate", "it beside --record", "one of the two", "leave one out");
  for (const std::string& name : set.names()) {
    const bool used = name == "--validate" || name == "--record" || name == "--hardware" ||
                      (name == "--seed" && o.validate > 0);
    if (!used && set.given(name))
      throw input_error(name, "it beside runs to compare with", "it without", "leave it out");
  }
}

void refuse_contradictions(const OptionSet& set, const SimulateOptions& o) {
  if (o.tokens > 0 && set.given("--tokens-per-device")) {
    throw input_error("--tokens", "it beside --tokens-per-device", "one of the two", "leave one out");
  }
  if (o.tokens > 0 && o.scaling == Scaling::weak) {
    throw input_error("--tokens", "it with --scaling weak", "--tokens-per-device", "use that");
  }
  if (o.compare_paths && set.given("--ep-path")) {
    throw input_error("--ep-path", "it with --compare-paths", "one of the two", "leave one out");
  }
  if (o.compare_paths && o.scaling != Scaling::none) {
    throw input_error("--scaling", "it with --compare-paths", "one path", "choose it by --ep-path");
  }
  if (o.topk > o.experts) {
    throw input_error("--topk", std::to_string(o.topk),
                      fmt::format("1 to {}, the number of experts", o.experts),
                      fmt::format("use --topk {}", o.experts));
  }
  const double assignments = static_cast<double>(o.tokens_at(o.devices)) * static_cast<double>(o.topk);
  if (assignments > static_cast<double>(kMaxDim)) {
    throw input_error("tokens * topk", fmt::format("{:.4g}", assignments), fmt::format("at most {}", kMaxDim),
                      "choose fewer tokens");
  }
}

}  // namespace

std::optional<SimulateOptions> parse_simulate_options(const std::vector<std::string>& args) {
  SimulateOptions o;
  OptionSet set = simulate_option_set(o);
  if (!set.parse(args)) return std::nullopt;
  apply_preset(set, o);
  if (o.validate > 0 || !o.record.empty()) {
    refuse_shape_of_runs(set, o);
    if (!set.given("--hardware")) o.hardware = "probe";
    return o;
  }
  refuse_contradictions(set, o);
  return o;
}

}  // namespace moehill

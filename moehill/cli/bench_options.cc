#include "moehill/cli/bench_options.h"

#include <cstdlib>
#include <filesystem>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/cli/choice_names.h"
#include "moehill/cli/flag_effects.h"
#include "moehill/cli/presets.h"

namespace moehill {
namespace {

constexpr int64_t kMaxDim = std::numeric_limits<int32_t>::max();

void declare_block(OptionSet& set, BenchOptions& o) {
  set.choice("--bench-pass", &o.pass, pass_names(), "what a step is");
  set.choice("--backend", &o.backend, backend_names(),
             "gmm: own grouped GEMM; ragged_dot: CBLAS, one call a group");
  set.choices("--impl", &o.impls, impl_names(), {"both", "all"},
              "form of the block; both and all: each of them");
  set.choice("--remat-mode", &o.remat, remat_names(),
             "what the backward pass computes again instead of keeping");
  declare_blocks_options(set, o);
  set.flag("--router-grad", &o.router_grad, "carry dp on through the softmax to the logits");
}

void declare_measurement(OptionSet& set, BenchOptions& o) {
  set.flag("--stage-timing", &o.stage_timing, "seconds and share of every stage");
  set.flag("--overlap", &o.overlap,
           "ep, dp: steps of the computation and of the communication alone too, and how much of one the "
           "other hides");
  set.integer("--iters", &o.schedule.iters, 1, 100000, "timed rounds, at least");
  set.integer("--warmup", &o.schedule.warmup, 0, 100000, "rounds before them");
  set.number("--min-time", &o.schedule.min_time, 0, 86400,
             "go on until every point has this many seconds of samples");
  set.number("--ci-target", &o.schedule.ci_target, 0, 1,
             "go on until every median's interval is within this share; 0: off");
  set.custom("--seed", "0..4294967295", "0", "seed of every random value", [&o](const std::string& text) {
    o.seed = static_cast<uint32_t>(parse_integer("--seed", text, 0, 4294967295));
  });
  set.choice("--check", &o.check, check_names(),
             "all rows of all results against a block computed apart; a failed check has no throughput");
  set.custom("--check-seed", "0..4294967295", "drawn anew",
             "seed of what the check draws, as a record has it", [&o](const std::string& text) {
               o.check_seed = static_cast<uint32_t>(parse_integer("--check-seed", text, 0, 4294967295));
             });
  set.text("--json", &o.json, "FILE",
           "one record per line; - is standard output, the table then goes to standard error");
  set.text("--dump", &o.dump, "DIR", "all tensors as .npy; a folder per point when there are several");
  set.text("--trace-dir", &o.trace_dir, "DIR", "Chrome trace JSON of one step per point (ui.perfetto.dev)");
}

}  // namespace

void declare_shape(OptionSet& set, BenchOptions& o) {
  std::vector<Named<std::string>> names;
  for (const Preset& preset : presets()) names.push_back({preset.name, preset.name});
  set.choice("--preset", &o.preset, names, "block of a known model; single options override it");
  set.custom("--tokens", "1..2147483647|auto", std::to_string(o.tokens),
             "tokens T; auto: as many as fit two minutes, by the measured peak",
             [&o](const std::string& text) {
               o.tokens_auto = text == "auto";
               if (!o.tokens_auto) o.tokens = parse_integer("--tokens", text, 1, kMaxDim);
             });
  set.integer("--hidden", &o.hidden, 1, kMaxDim, "model width H");
  set.integer("--mlp-dim", &o.mlp_dim, 1, kMaxDim, "width M of a routed expert");
  set.integer("--experts", &o.experts, 1, 65536, "routed experts E");
  set.integer("--topk", &o.topk, 1, 1024, "experts per token k");
  set.integer_list("--topk-list", &o.topk_list, 1, 1024, "several k, one point each");
  set.integer("--shared-expert-dim", &o.shared_dim, 0, kMaxDim, "width S of the shared expert; 0: none");
  set.flag("--shared-fused", &o.shared_fused, "one product with S1|S3 instead of two");
  set.choice("--dtype", &o.dtype, dtype_names(), "storage; accumulation is f32");
}

void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions) {
  set.custom("--distribution", "random|runs|both|balanced|zipf:S|hot-experts:N,F|hot-device:F",
             to_string(distributions->front()),
             "router's logits; S exponent, F share of all assignments on N experts or on device 0",
             [=](const std::string& text) { *distributions = parse_distributions(text); });
}

void declare_routing(OptionSet& set, BenchOptions& o) {
  declare_distribution(set, &o.distributions);
  set.number("--run-alpha", &o.run_alpha, 0, 0.999999,
             "runs: persistence; runs last about 1/(1-alpha) tokens");
  set.number("--run-noise-scale", &o.run_noise_scale, 0, 1e6,
             "runs: deviation of the logits below the run's +6");
  set.choice("--routing-pack-strategy", &o.pack, pack_names(),
             "how the assignments are brought into expert order");
  set.choices("--queue-mode", &o.prequeue, queue_names(), {"both"},
              "prequeue: plan and packed rows made before the clock starts (forward only)");
  set.number("--capacity-factor", &o.capacity.factor, 0, 1e6,
             "capacity C = ceil(factor * T * k / E) rows an expert");
  set.choice("--capacity-policy", &o.capacity.policy, capacity_names(),
             "drop: assignments past C are left out; pad: every expert computes C rows");
}

void declare_devices(OptionSet& set, BenchOptions& o) {
  set.choice(
      "--parallel-mode", &o.modes, mode_names(),
      "none: one device does all; dp: tokens sharded, experts replicated; ep: experts sharded; both: none "
      "and ep");
  set.choice("--ep-path", &o.ep_path, path_names(),
             "how devices exchange rows; auto: the one predicted fastest from the probe, else compact_psum");
  set.choice(
      "--shared-placement", &o.shared_placement, placement_names(),
      "ep by psum: the shared expert on each device's slice of the tokens, or on all of them everywhere");
  set.choice("--ring-split", &o.split_rows, split_names(),
             "ep by ring_ag_rs: products of a device's own rows while others travel; auto: between nodes");
  const std::string cores = "by the cores";
  const auto count = [&](const std::string& name, int64_t* value, const std::string& help) {
    set.custom(name, "1..1024", cores, help,
               [=](const std::string& text) { *value = parse_integer(name, text, 1, 1024); });
  };
  count("--devices", &o.devices, "ep: devices P");
  count("--threads-per-device", &o.threads_per_device, "ep: threads N of a device");
  count("--none-threads", &o.none_threads,
        "none: threads of the one device, instead of P*N or as many as there are cores");
  set.choice("--mesh", &o.mesh, mesh_names(),
             "where the devices live: in this process, or one in each process of mpirun or srun");
}

void declare_blocks_options(OptionSet& set, BenchOptions& o) {
  set.custom(
      "--blocks", "bt=..,bf=..,bd1=..,bd2=..,btc=..,bfc=..,bd1c=..,bd2c=..", to_string(BlockSizes{}),
      "block sizes of gmm, any of them: rows, expert width, depth up, columns down; c: of one kernel call",
      [&o](const std::string& text) {
        o.blocks = parse_blocks(text);
        o.blocks_given = true;
      });
  set.text("--table", &o.table, "auto|off|FILE",
           "blocks found by moehill tune; auto: this user's, then those that come along");
}

void refuse_useless_table(const BenchOptions& o) {
  if (o.table == "auto") return;
  if (o.blocks_given)
    throw input_error("--table", "it beside --blocks", "one of the two", "leave --table out");
  if (o.backend != Backend::gmm)
    throw input_error("--table", "it with --backend ragged_dot", "nothing but gmm, whose blocks it has",
                      "leave it out");
  if (o.table != "off" && !std::filesystem::exists(o.table))
    throw input_error("--table", o.table + " (no such file)", "auto, off, or a table written by moehill tune",
                      "make it: moehill tune --table " + o.table);
}

OptionSet bench_option_set(BenchOptions& options) {
  OptionSet set("moehill bench", "Checks, then times a MoE block: one point or several, interleaved.",
                {"moehill bench --preset olmoe-1b-7b --tokens 256 --bench-pass forward",
                 "moehill bench --tokens 256 --topk-list 2,8 --parallel-mode both --stage-timing",
                 "moehill bench --tokens 64 --hidden 256 --mlp-dim 128 --experts 8 --topk 2 "
                 "--shared-expert-dim 0 --impl all "
                 "--json -"});
  declare_shape(set, options);
  declare_routing(set, options);
  declare_block(set, options);
  declare_devices(set, options);
  declare_measurement(set, options);
  return set;
}

std::optional<BenchOptions> parse_bench_options(const std::vector<std::string>& args) {
  BenchOptions options;
  OptionSet set = bench_option_set(options);
  if (!set.parse(args)) return std::nullopt;
  apply_preset(set, options);
  refuse_useless_table(options);
  refuse_flags_without_effect(options, [&](const std::string& name) { return set.given(name); });
  return options;
}

}  // namespace moehill

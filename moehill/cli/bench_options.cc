// Implementation of cli/bench_options.h: the options of `moehill bench`, and the parts of them that other
// commands declare, too. A bound variable holds its default until parse() assigns it (option_set.h). Rules
// about combinations are in flag_effects.cc.
#include "moehill/cli/bench_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <tuple>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/cli/flag_effects.h"
#include "moehill/cli/presets.h"
#include "moehill/measure/points.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

// Declares the options that say how the block is computed.
void declare_block(OptionSet& set, BenchOptions& o) {
  set.fields(&o.block, {"bench_pass", "backend"});
  set.choices("--impl", &o.impls, {"both", "all"}, "how the block is computed; both, all: a point for each");
  set.fields(&o.block, {"remat_mode", "router_grad"});
  set.custom("--balance-loss", kBalanceLossForms, "none",
             "losses that balance the experts; their gradients are added to the logits' (--router-grad)",
             [&o](const std::string& text) { o.block.balance_loss = parse_balance_loss(text); });
  declare_blocks_options(set, o);
}

// Declares the options that say how it is measured, checked and written.
void declare_measurement(OptionSet& set, BenchOptions& o) {
  set.fields(&o, {"stage_timing"});
  set.custom("--ablate", "STAGE,..", "nothing",
             "also time steps without a stage, and say what that saves: " + ablation_words(),
             [&o](const std::string& text) {
               o.ablations = parse_ablations(text);
               o.stage_timing = true;  // the table shows its times beside the savings
             });
  set.flag("--overlap", &o.overlap,
           "ep, dp: also time computation and communication alone, and say how much of one the "
           "other hides");
  set.fields(&o, {"iters", "warmup", "min_time", "ci_target", "seed", "check"});
  set.custom("--check-seed", "0..4294967295", "drawn anew",
             "seed of the check's random choices; a record has it", [&o](const std::string& text) {
               o.check_seed = static_cast<uint32_t>(parse_integer("--check-seed", text, 0, 4294967295));
             });
  set.input("--checked", &o.checked, "FILE",
            "records of earlier runs; results that equal a checked one there are not checked again");
  set.output("--json", &o.json, "FILE",
             "one record per line; - is standard output, the table then goes to standard error");
  for (const auto& [name, file, form] :
       {std::tuple("--export-csv", &o.export_csv, "CSV"), std::tuple("--export-json", &o.export_json, "JSON"),
        std::tuple("--export-markdown", &o.export_markdown, "Markdown")})
    set.output(name, file, "FILE", fmt::format("a row for each point as {}, in hyperfine's columns", form));
  set.output("--dump", &o.dump, "DIR", "all tensors as .npy; a folder per point when there are several");
  set.output(
      "--save-routing", &o.save_routing, "FILE",
      "the routing of the run, for --distribution trace: JSON lines, or .npy with FILE.gates.npy beside it",
      routing_files);
  set.output("--trace-dir", &o.trace_dir, "DIR", "Chrome trace JSON of one step per point (ui.perfetto.dev)");
}

// These options may have several values in one command, because each point has its own.
constexpr const char* kAxes[] = {"tokens",
                                 "hidden",
                                 "mlp-dim",
                                 "experts",
                                 "topk",
                                 "shared-expert-dim",
                                 "dtype",
                                 "expert-form",
                                 "router",
                                 "distribution",
                                 "queue-mode",
                                 "routing-pack-strategy",
                                 "capacity-factor",
                                 "capacity-policy",
                                 "capacity-order",
                                 "capacity-pool",
                                 "capacity-sources",
                                 "capacity-spares",
                                 "bench-pass",
                                 "backend",
                                 "impl",
                                 "remat-mode",
                                 "parallel-mode",
                                 "ep-path",
                                 "wire",
                                 "shared-placement",
                                 "placement",
                                 "devices",
                                 "threads-per-device",
                                 "shared-fused",
                                 "ring-split",
                                 "waves",
                                 "blocks"};
// `-L point` gives single points instead of all combinations.
constexpr const char* kSinglePoint = "point";
// Refusals name --parameter-list as everybody types it.
constexpr const char* kLists = "-L";

// Refuses a text that is no regular expression, and a long one: std::regex makes one call inside another for
// each character, so a long expression overflows the stack.
void require_expression(const std::string& text) {
  constexpr size_t kMost = 1000;
  try {
    if (!text.empty() && text.size() <= kMost) return static_cast<void>(std::regex(text));
  } catch (const std::regex_error&) {
  }
  throw input_error("--filter", moehill::quoted(text, 100),
                    fmt::format("a regular expression (ECMAScript) of 1 to {} characters", kMost),
                    "escape by a backslash what is meant literally");
}

void declare_selection(OptionSet& set, BenchOptions& o, OptionSet::Pairs* lists) {
  set.pairs("--parameter-list", lists, "AXIS VALUES",
            "a point for each value of this option, with commas between them; several -L: all "
            "combinations; -L point \"topk=2 parallel_mode=ep\": this one");
  set.shorten("--parameter-list", 'L');
  set.custom("--filter", "REGEX", "", "only points whose name matches", [&o](const std::string& text) {
    require_expression(text);
    o.filter = text;
  });
}

bool is_axis(const std::string& name) {
  return std::find(std::begin(kAxes), std::end(kAxes), name) != std::end(kAxes);
}

// Throws InputError for an option that is the same for all points of a command.
void require_axis(const std::string& name) {
  if (!is_axis(name))
    throw input_error(kLists, moehill::quoted(name, 100), fmt::format("{}, point", fmt::join(kAxes, ", ")),
                      "choose one of these");
}

// Returns the steps of an axis, each with one value. A value that contains a comma, such as
// hot-experts:4,0.5, cannot be listed.
std::vector<OptionSet::Pairs> steps_of(const std::string& axis, const std::string& values) {
  const std::string name = axis.substr(0, 2) == "--" ? axis.substr(2) : axis;
  require_axis(name);
  // A value of blocks is a list itself.
  if (name == "blocks")
    throw input_error(kLists + std::string(" blocks"), moehill::quoted(values, 100),
                      "blocks of single points, since commas stand within them",
                      "write such as -L point 'blocks=bt=64,bf=512'");
  std::vector<OptionSet::Pairs> steps;
  for (const std::string& value : split(values, ',')) steps.push_back({{name, value}});
  return steps;
}

// Returns the axes of all -L in their order, each as its steps. All `-L point` together are one axis, whose
// steps set several options.
std::vector<std::vector<OptionSet::Pairs>> axes_of(const OptionSet::Pairs& lists) {
  std::vector<std::vector<OptionSet::Pairs>> axes;
  std::optional<size_t> points;
  for (const auto& [axis, values] : lists) {
    if (axis != kSinglePoint) {
      axes.push_back(steps_of(axis, values));
      continue;
    }
    if (!points) {
      points = axes.size();
      axes.emplace_back();
    }
    axes[*points].push_back(options_of_point(values));
    for (const auto& [name, value] : axes[*points].back()) require_axis(name);
  }
  return axes;
}

// Returns options as -L point takes them: "ep_path=fused waves=2".
std::string point_text(const OptionSet::Pairs& options) {
  std::string text;
  for (auto [name, value] : options) {
    std::replace(name.begin(), name.end(), '-', '_');
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  }
  return text;
}

// Returns a further remedy for the case that one combination of -L is refused and another one is accepted: to
// give the refused option only to points that accept it. Returns "" unless the refusal begins with an option
// that was given for all points (`rest`) and that a single point may have.
std::string single_points_remedy(const std::vector<std::string>& rest, const std::string& refusal,
                                 OptionSet::Pairs taken, const OptionSet::Pairs& refused) {
  constexpr size_t kMostBytes = 200;
  for (size_t i = 0; i < rest.size(); ++i) {
    const size_t equals = rest[i].find('=');
    const std::string option = rest[i].substr(0, equals);
    if (option.rfind("--", 0) != 0 || !is_axis(option.substr(2)) || refusal.rfind(option + " ", 0) != 0)
      continue;
    const bool has_word = i + 1 < rest.size() && rest[i + 1].rfind("--", 0) != 0;
    taken.emplace_back(option.substr(2), equals != std::string::npos ? rest[i].substr(equals + 1)
                                         : has_word                  ? rest[i + 1]
                                                                     : "true");
    const std::string text = fmt::format(", or give it to single points: -L point \"{}\" -L point \"{}\"",
                                         point_text(taken), point_text(refused));
    return text.size() > kMostBytes ? "" : text;
  }
  return "";
}

// Returns the options of each combination: the arguments without -L, and one step of each axis.
std::vector<BenchOptions> variants_of(const std::vector<std::string>& args, const OptionSet::Pairs& lists) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i].rfind("-L", 0) != 0 && args[i].rfind("--parameter-list", 0) != 0)
      rest.push_back(args[i]);
    else
      i += args[i] == "-L" || args[i] == "--parameter-list" ? 2 : 1;
  }
  constexpr size_t kMostCombinations = 1024;
  std::vector<OptionSet::Pairs> combinations = {{}};
  for (const std::vector<OptionSet::Pairs>& steps : axes_of(lists)) {
    // The size is checked before the product is made: a short command line can ask for millions of
    // combinations.
    if (combinations.size() * steps.size() > kMostCombinations)
      throw input_error(kLists, fmt::format("{} combinations", combinations.size() * steps.size()),
                        fmt::format("at most {}", kMostCombinations), "leave some values out");
    std::vector<OptionSet::Pairs> longer;
    for (const OptionSet::Pairs& begin : combinations) {
      for (const OptionSet::Pairs& step : steps) {
        longer.push_back(begin);
        longer.back().insert(longer.back().end(), step.begin(), step.end());
      }
    }
    combinations = longer;
  }
  std::vector<BenchOptions> variants;
  std::string refusal;  // of the first combination that is refused
  OptionSet::Pairs refused;
  for (const OptionSet::Pairs& axes : combinations) {
    std::vector<std::string> arguments = rest;
    for (const auto& [axis, value] : axes) {
      const std::string argument = argument_of(axis, value);
      if (!argument.empty()) arguments.push_back(argument);
    }
    try {
      variants.push_back(parse_bench_options(arguments).value());
      variants.back().axes = axes;
    } catch (const InputError& error) {
      if (!refusal.empty()) continue;
      refusal = error.what();
      refused = axes;
    }
  }
  if (refusal.empty()) return variants;
  if (!variants.empty()) refusal += single_points_remedy(rest, refusal, variants.front().axes, refused);
  throw InputError(refusal);
}

}  // namespace

OptionSet::Pairs options_of_point(const std::string& text) {
  OptionSet::Pairs options;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    std::string name = word.substr(0, equals);
    std::replace(name.begin(), name.end(), '_', '-');
    options.emplace_back(name, equals == std::string::npos ? "true" : word.substr(equals + 1));
  }
  return options;
}

std::string argument_of(const std::string& name, const std::string& value) {
  if (value == "false") return "";
  return value == "true" ? "--" + name : fmt::format("--{}={}", name, value);
}

// Declares the options of the problem's size; --preset and --config fill those that are not given
// (apply_model()).
void declare_shape(OptionSet& set, BenchOptions& o) {
  declare_preset(set, &o.preset);
  set.custom("--tokens", "1..2147483647|auto", std::to_string(o.shape.tokens),
             "tokens T of all devices; auto: as many as two minutes allow", [&o](const std::string& text) {
               o.tokens_auto = text == "auto";
               if (!o.tokens_auto)
                 o.shape.tokens = parse_integer("--tokens", text, 1, static_cast<int64_t>(kMaxDimension));
             });
  set.fields(&o.shape, {"hidden", "mlp_dim", "experts", "topk", "shared_expert_dim", "dtype"});
  declare_expert_form(set, &o.shape.form);
  set.integer_list("--topk-list", &o.topk_list, 1, 1024, "several k, a point for each");
  set.fields(&o.block, {"shared_fused"});
}

void declare_weights(OptionSet& set, BenchOptions& o) {
  set.input("--weights", &o.source.path, "DIR|FILE",
            "a model's weights in place of random ones: .safetensors, its index, or the folder of them");
  set.custom("--layer", "0..1000000", "the first with experts", "layer of --weights, and of --config",
             [&o](const std::string& text) { o.source.layer = parse_integer("--layer", text, 0, 1000000); });
}

void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions) {
  set.custom("--distribution", kDistributionForms, to_string(distributions->front()),
             "how the router's logits are drawn, or a trace; docs/metrics.md",
             [=](const std::string& text) { *distributions = parse_distributions(text); });
}

void declare_router(OptionSet& set, BenchOptions& o) {
  set.custom("--router", "SCORE[,WORD..][,in-step[,product]]", to_string(o.shape.router),
             "how choices and gate values come from the logits, docs/metrics.md; in-step: in each step; "
             "product: the logits too, as x W_g",
             [&o](const std::string& text) {
               // `in-step` and `product` are words of the same option, although they say when the rule is
               // applied and not what it is. They are taken out here; the rest is the rule.
               const std::vector<std::string> parts = split(text, ',');
               const auto has = [&](const std::string& word) {
                 return std::find(parts.begin(), parts.end(), word) != parts.end();
               };
               o.block.route_in_step = has(kInStep);
               o.block.router_product = has(kProduct);
               if (o.block.router_product && !o.block.route_in_step)
                 throw usage_error("--router product needs in-step", "add in-step");
               o.router_given = text != kInStep && text != fmt::format("{},{}", kInStep, kProduct);
               if (o.router_given) o.shape.router = parse_router_rule(text);
             });
}

void declare_routing(OptionSet& set, BenchOptions& o) {
  declare_distribution(set, &o.distributions);
  set.number("--run-alpha", &o.run_alpha, 0, 0.999999,
             "runs: about 1/(1-alpha) tokens in a row have the same expert");
  set.number("--run-noise-scale", &o.run_noise_scale, 0, 1e6,
             "runs: deviation of the logits; the run's expert has 6 more");
  set.choices("--queue-mode", &o.queue_modes, {"both"},
              "prequeue: plan and packed rows are made before the clock starts; forward only");
  set.fields(&o.block, {"routing_pack_strategy", "capacity_factor", "capacity_policy", "capacity_order",
                        "capacity_pool", "capacity_sources", "capacity_spares"});
}

void declare_layout(OptionSet& set, BenchOptions& o, const std::string& otherwise) {
  const auto count = [&](const std::string& name, int64_t* value, const std::string& help) {
    set.custom(name, "1..1024", otherwise, help,
               [=](const std::string& text) { *value = parse_integer(name, text, 1, 1024); });
  };
  count("--devices", &o.devices, "ep, dp: number of devices P");
  count("--threads-per-device", &o.threads_per_device, "ep, dp: threads (cores, or chips) N of each device");
}

void declare_mesh(OptionSet& set, MeshKind* mesh, double* timeout_s) {
  set.choice("--mesh", mesh,
             "where the devices live: in this process, or one in each process of mpirun or srun");
  declare_timeout(set, timeout_s);
}

void declare_timeout(OptionSet& set, double* timeout_s) {
  set.custom("--timeout", "1..86400", "600, then by the first step's time, 30 at least",
             "mpirun, srun: seconds that a process may wait for another one before the job ends",
             [timeout_s](const std::string& text) { *timeout_s = take_timeout(text); });
}

void declare_spread(OptionSet& set, BenchOptions& o) {
  set.choices("--parallel-mode", &o.modes, {"both"},
              "none: one device does all; dp: tokens sharded, experts replicated; ep: experts sharded; both: "
              "none and ep",
              {ParallelMode::none, ParallelMode::ep});
  declare_ep_path(set, o);
}

void declare_ep_path(OptionSet& set, BenchOptions& o) {
  set.auto_choice(
      "--ep-path", &o.ep_path,
      "how devices exchange rows; auto: the one predicted fastest from the probe, else compact_psum",
      Spread::compact_psum);
  set.choice("--wire", &o.wire, kWireHelp);
}

void declare_devices(OptionSet& set, BenchOptions& o) {
  declare_spread(set, o);
  set.choice("--shared-placement", &o.shared_placement,
             "psum paths: a device computes the shared expert for its slice of the tokens, or for all");
  set.custom(
      "--placement", kPlacementForms, "by number",
      "ep: which device has which experts, and copies of the busiest; fitted to the point's own routing, "
      "or from a file of moehill balance",
      [&o](const std::string& text) {
        parse_placement(text);  // it throws InputError for a text that is no placement
        o.placement = text;
      });
  set.auto_choice(
      "--ring-split", &o.split_rows,
      "ring_ag_rs: multiply a device's own rows while others travel; auto: if there are several nodes");
  set.custom("--waves", "1..1024|auto", "auto",
             "fused: number of waves of a device's experts; rows of one wave travel while another computes; "
             "auto: by the bytes between nodes; in one process rows are read in place",
             [&o](const std::string& text) {
               o.waves = text == "auto" ? 0 : parse_integer("--waves", text, 1, 1024);
             });
  declare_layout(set, o, "by the cores");
  set.integer("--nodes", &o.nodes, 0, 1024,
              "one process: act as if its devices were on this many nodes; 0: one");
  set.custom(
      "--none-threads", "1..1024", "by the cores",
      "none: threads of the one device, instead of P*N or as many as there are cores",
      [&o](const std::string& text) { o.none_threads = parse_integer("--none-threads", text, 1, 1024); });
  declare_mesh(set, &o.mesh, &o.timeout_s);
}

void declare_blocks_options(OptionSet& set, BenchOptions& o) {
  set.custom("--blocks", "bt=..,bf=..,bd1=..,bd2=..,btc=..,bfc=..,bd1c=..,bd2c=..", to_string(BlockSizes{}),
             "block sizes of gmm, some or all: bt rows, bf expert width, bd1 depth of up, bd2 columns of "
             "down; ending in c: for one kernel call",
             [&o](const std::string& text) {
               o.block.blocks = parse_blocks(text);
               o.blocks_given = true;
             });
  set.custom("--table", "auto|off|FILE", "auto", "blocks that moehill tune found; auto: this user's",
             [&o](const std::string& text) {
               o.table = value_named<TableChoice>(text).value_or(TableChoice::file);
               o.table_file = text;
             });
}

void apply_model(const OptionSet& set, BenchOptions& o) {
  const std::optional<ModelBlock> block = chosen_model(o.preset, o.config, o.source.layer);
  if (!block) return;
  take_shape(set, *block, o.shape);
  if (!o.router_given) o.shape.router = block->shape.router;
  o.model_notes = block->assumed;
  if (!block->left_out.empty()) o.model_notes.push_back("without " + left_out_words(*block));
}

void refuse_useless_table(const BenchOptions& o) {
  if (o.table == TableChoice::automatic) return;
  if (o.blocks_given) throw usage_error("--table cannot be used with --blocks", "leave --table out");
  if (o.block.backend != Backend::gmm)
    throw usage_error("--table needs --backend gmm, since other backends have no blocks", "leave it out");
  if (o.table == TableChoice::file && !is_there(o.table_file))
    throw input_error("--table", moehill::quoted(o.table_file) + " (no such file)",
                      "auto, off, or a table written by moehill tune",
                      "make it by moehill tune --table FILE");
}

void refuse_layer_alone(const BenchOptions& o) {
  if (o.source.layer && o.source.path.empty() && o.config.empty())
    throw usage_error("--layer needs --weights or --config", "add --weights DIR or leave it out");
}

std::string repro_of(const OptionSet& set, std::string text, const OptionSet::Pairs& lists) {
  for (const auto& [name, value] : set.given_options()) {
    std::string option = "--" + name;
    std::replace(option.begin(), option.end(), '_', '-');
    for (const char* other : {"--json", "--export-csv", "--export-json", "--export-markdown", "--dump",
                              "--save-routing", "--trace-dir", "--filter", "--parameter-list", "--checked"})
      if (option == other) option.clear();
    if (option.empty()) continue;
    text += fmt::format(" {}", option);
    if (value) text += fmt::format(" {}", shell_word(*value));
  }
  for (const auto& [axis, values] : lists) text += fmt::format(" -L {} {}", axis, shell_word(values));
  return text;
}

OptionSet bench_option_set(BenchOptions& options, OptionSet::Pairs* lists) {
  OptionSet set("moehill bench",
                "Checks a Mixture-of-Experts block, then times it: one point, or several in turn.",
                {"moehill bench --preset olmoe-1b-7b --tokens 256 --bench-pass forward",
                 "moehill bench --tokens 256 --topk-list 2,8 --parallel-mode both --stage-timing",
                 "moehill bench --tokens 64 --hidden 256 --mlp-dim 128 --experts 8 --topk 2 --impl all "
                 "--json -"});
  declare_shape(set, options);
  declare_config(set, &options.config);
  declare_weights(set, options);
  declare_router(set, options);
  declare_routing(set, options);
  declare_block(set, options);
  declare_devices(set, options);
  declare_measurement(set, options);
  declare_selection(set, options, lists);
  set.flag("--climbed", &options.climbed,
           "the fastest configuration that moehill climb found for this problem");
  return set;
}

std::optional<BenchOptions> parse_bench_options(const std::vector<std::string>& args) {
  BenchOptions options;
  OptionSet::Pairs lists;
  OptionSet set = bench_option_set(options, &lists);
  if (!set.parse(args)) return std::nullopt;
  options.repro = repro_of(set, "moehill bench", lists);
  if (!lists.empty()) {
    for (const char* other : {"--weights", "--save-routing", "--climbed", "--topk-list"})
      if (set.given(other))
        throw usage_error(fmt::format("{} cannot be used with -L", other), "leave one of the two out");
    std::vector<BenchOptions> variants = variants_of(args, lists);
    if (std::any_of(variants.begin(), variants.end(), [](const BenchOptions& o) { return o.tokens_auto; }))
      throw usage_error("--tokens auto cannot be used with -L", "give a number");
    const std::string repro = options.repro;
    options = variants.front();
    options.axes.clear();
    options.repro = repro;
    options.variants = std::move(variants);
    return options;
  }
  apply_model(set, options);
  refuse_useless_table(options);
  refuse_layer_alone(options);
  refuse_flags_without_effect(options, [&](const std::string& name) { return set.given(name); });
  return options;
}

StoredJson given_bench_options(const std::vector<std::string>& args) {
  BenchOptions bench;
  OptionSet::Pairs lists;
  OptionSet set = bench_option_set(bench, &lists);
  set.parse(args);
  StoredJson given = StoredJson::object();
  for (const auto& [name, value] : set.given_options())
    given[name] = value ? StoredJson(*value) : StoredJson(true);
  return given;
}

}  // namespace moehill

// `moehill balance` predicts what it gains to place experts by their load, what it costs to move their
// weights, and after how many steps the move has paid for itself. It runs no step: predict_run() tries each
// placement on a routing, and link_seconds() gives the time of the moved weights.
//
//     moehill balance --hardware epyc-cluster --devices 8 --experts 64 --topk 4
//         --distribution dirichlet:1 --save-placement placement.json
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/cli/predict_options.h"
#include "moehill/predict/advice.h"
#include "moehill/routing/balance_loss.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/router.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/workloads.h"

namespace moehill {
namespace {

// BalanceOptions is what the command line fills. Without `fit`, placements are made for the same routing on
// which they are tried, which shows the most that they could gain.
struct BalanceOptions {
  PredictOptions point;
  std::optional<DistributionOptions> fit;
  int64_t copies = 0, nodes = 1, groups = 0;
  int64_t bias_updates = 0;
  double bias_rate = 0.001;
  std::string save_placement;
};

// Candidate is a placement with the name that the table gives it. The first candidate is always the placement
// by number.
struct Candidate {
  std::string name;
  Placement placement;
};

// Outcome is what the model expects of one placement: loads, the time of a step, and the cost of moving the
// experts to it.
struct Outcome {
  std::string name;
  double expert_max_over_mean = 0, device_max_over_mean = 0;
  double step_s = 0;
  int64_t moved_experts = 0;  // received by all devices
  double moved_bytes = 0, move_s = 0;
  // Returns the steps after which the placement has gained the cost of the move; nothing if it gains nothing.
  std::optional<double> break_even(const Outcome& before) const {
    const double gain = before.step_s - step_s;
    return gain > 0 ? std::optional(move_s / gain) : std::nullopt;
  }
};

// Runs `work`. If `work` refuses a distribution, its message names --distribution. Here the text belongs to
// --fit, so this function throws the message again with that name.
template <typename Work>
auto in_the_name_of_fit(const Work& work) {
  try {
    return work();
  } catch (const InputError& error) {
    std::string text = error.what();
    const std::string option = "--distribution";
    for (size_t at = text.find(option); at != std::string::npos; at = text.find(option, at))
      text.replace(at, option.size(), "--fit");
    throw InputError(text);
  }
}

bool uses_a_trace(const BalanceOptions& o) {
  return o.point.bench.distributions.front().kind == Distribution::trace ||
         (o.fit && o.fit->kind == Distribution::trace);
}

// Throws InputError for options that have no effect or contradict each other.
void refuse_useless_options(const OptionSet& set, const BalanceOptions& o) {
  if (set.given("--groups") != set.given("--nodes"))
    throw usage_error("--nodes and --groups need each other", "add the other one, or leave both out");
  if (set.given("--bias-rate") && o.bias_updates == 0)
    throw usage_error("--bias-rate needs --bias-updates", "add --bias-updates N or leave it out");
  if (o.bias_updates > 0 && !o.save_placement.empty())
    throw usage_error(
        "--save-placement cannot be used with --bias-updates: a bias moves the load, and experts stay where "
        "they are",
        "leave one of the two out");
  if (set.given("--router") && uses_a_trace(o))
    throw usage_error("--router cannot be used with a trace, which has choices and gate values already",
                      "leave it out");
  // One of the two routings may be drawn although the other one is a trace.
  const DistributionOptions& tried = o.point.bench.distributions.front();
  refuse_seed_of_trace(set, tried.kind == Distribution::trace ? o.fit.value_or(tried) : tried);
}

bool parse_balance_options(const std::vector<std::string>& args, BalanceOptions& o) {
  OptionSet set(
      "moehill balance",
      "Says what placing experts by their load gains, what it costs, and after how many steps it pays.",
      {"moehill balance --hardware epyc-cluster --devices 8 --experts 64 --copies 8 --distribution zipf:1",
       "moehill balance --hardware h100-node --experts 64 --fit drift:2,99,0 --distribution drift:2,99,50",
       "moehill balance --hardware epyc-cluster --devices 16 --experts 64 --nodes 4 --groups 8"});
  // Placements exist only for ep, and the default path is the pipelined one.
  o.point.bench.ep_path = Spread::fused;
  declare_ep_point(set, o.point);
  set.custom("--fit", kDistributionForms, "--distribution",
             "routing for which placements are made; they are tried on --distribution",
             [&o](const std::string& text) {
               const auto parsed = in_the_name_of_fit([&] { return parse_distributions(text); });
               if (parsed.size() > 1)
                 throw input_error("--fit", moehill::quoted(text), "one distribution", "choose one of them");
               o.fit = parsed.front();
             });
  set.integer("--copies", &o.copies, 0, 65536, "number of copies of busy experts");
  set.integer("--nodes", &o.nodes, 1, 1024, "hierarchical: number of nodes; a group of experts stays on one");
  set.custom("--groups", "1..65536", "none", "hierarchical: number of groups of neighbouring experts",
             [&o](const std::string& text) { o.groups = parse_integer("--groups", text, 1, 65536); });
  declare_router(set, o.point.bench);
  set.integer("--bias-updates", &o.bias_updates, 0, 100000,
              "also try this many updates of the router's bias towards equal loads");
  set.number("--bias-rate", &o.bias_rate, 1e-9, 1, "size of each update");
  set.output("--save-placement", &o.save_placement, "FILE",
             "the placement with the fastest step, for bench --placement");
  set.output("--json", &o.point.json, "FILE",
             "one placement a line; - is standard output, the table then goes to standard error");
  if (!set.parse(args)) return false;
  refuse_useless_options(set, o);
  resolve_point(set, o.point);
  return true;
}

// Throws InputError if the placements that are asked for cannot be made for this shape.
void refuse_impossible(const BalanceOptions& o, const RunConfig& config) {
  const int64_t experts = config.shape.experts, devices = config.num_devices;
  if (devices < 2)
    throw input_error("--devices", std::to_string(devices), "2 or more", "say how many share the experts");
  if (o.copies > experts * (devices - 1))
    throw input_error("--copies", std::to_string(o.copies),
                      fmt::format("0 to {}, an expert at most once a device", experts * (devices - 1)),
                      "choose fewer");
  if (o.bias_updates > 0 && (!config.shape.router.bias || uses_a_trace(o)))
    throw usage_error("--bias-updates needs a router with a bias, and logits, which a trace does not have",
                      "add for example --router sigmoid,bias,normalized");
  if (o.point.bench.block.route_in_step)
    throw usage_error("--router in-step has no effect here, since no step runs", "leave in-step out");
  if (o.groups == 0) return;
  if (o.groups % o.nodes != 0 || devices % o.nodes != 0 || experts % o.groups != 0 || experts % devices != 0)
    throw input_error(
        "--nodes, --groups",
        fmt::format("{}, {}, {}, {}", count_text(o.nodes, "node"), count_text(o.groups, "group"),
                    count_text(devices, "device"), count_text(experts, "expert")),
        "nodes that divide groups and devices, groups and devices that divide the experts", "choose others");
}

// Returns the placements to try: by number, greedy by load, and those that --groups and --copies ask for.
std::vector<Candidate> candidates(const BalanceOptions& o, const RunConfig& config, const Routing& fit) {
  const std::vector<int64_t> load = expert_load(fit);
  const int devices = config.num_devices;
  std::vector<Candidate> all = {{"contiguous", contiguous_placement(config.shape.experts)},
                                {"greedy", greedy_placement(load, devices)}};
  if (o.groups > 0)
    all.push_back({"hierarchical", hierarchical_placement(load, devices, static_cast<int>(o.nodes),
                                                          static_cast<int>(o.groups))});
  if (o.copies > 0)
    all.push_back({"greedy, " + count_text(o.copies, "copy", "copies"),
                   greedy_placement(load, devices, static_cast<int>(o.copies))});
  return all;
}

// Returns the routing after o.bias_updates updates of the router's bias on the logits of the fit. The experts
// stay where they are; instead the bias moves tokens to other experts (auxiliary-loss-free balancing,
// arXiv:2408.15664).
Routing biased_routing(const BalanceOptions& o, const RunConfig& config, const DistributionOptions& fit) {
  const uint32_t seed = o.point.bench.seed;
  const MoeShape& shape = config.shape;
  // Logits and choices are those of routing_of(), by which the other candidates are routed.
  const auto on_devices = [&](DistributionOptions distribution) {
    distribution.devices = config.num_devices;
    return distribution;
  };
  const auto logits = [&](const DistributionOptions& distribution) {
    return make_logits(distribution, shape.tokens, shape.num_logits(), shape.topk, seed,
                       shape.router.zero_experts);
  };
  const auto route = [&](const Router& router, const DistributionOptions& distribution,
                         const std::vector<float>& z) {
    Routing routing = route_all(router, z, shape.tokens, shape.num_logits(), shape.topk);
    leave_out_tokens(distribution, routing);
    return routing;
  };
  const DistributionOptions fitted = on_devices(fit), tried = on_devices(o.point.bench.distributions.front());
  Router router = make_router(shape.router, shape.tokens, shape.experts, shape.topk, seed);
  const std::vector<float> z = logits(fitted);
  for (int64_t n = 0; n < o.bias_updates; ++n)
    update_bias(expert_load(route(router, fitted, z)), o.bias_rate, router.bias);
  return route(router, tried, logits(tried));
}

// Adds the cost of moving from one placement to the other. Weights travel once, without their gradients. The
// device that receives most decides how long this takes.
void add_cost(const RunConfig& config, const Hardware& hardware, const Placement& from, const Placement& to,
              Outcome& outcome) {
  const std::vector<int64_t> received = received_experts(from, to, config.num_devices);
  const double expert_bytes = static_cast<double>(config.shape.expert_weights()) *
                              static_cast<double>(dtype_bytes(config.shape.dtype));
  for (const int64_t n : received) outcome.moved_experts += n;
  outcome.moved_bytes = static_cast<double>(outcome.moved_experts) * expert_bytes;
  const double busiest =
      static_cast<double>(*std::max_element(received.begin(), received.end())) * expert_bytes;
  if (busiest > 0)
    outcome.move_s = link_seconds(hardware, Collective::all_to_all, busiest, config.num_devices);
}

// Returns what the model expects of `candidate` on `routing`, with the cost of moving there from `from`.
Outcome try_out(const Candidate& candidate, const Placement& from, RunConfig config, const Routing& routing,
                const Hardware& hardware) {
  Outcome outcome;
  outcome.name = candidate.name;
  add_cost(config, hardware, from, candidate.placement, outcome);
  const Routing placed = place(routing, candidate.placement);
  const std::vector<int64_t> load = expert_load(placed);
  outcome.expert_max_over_mean = max_over_mean(load);
  outcome.device_max_over_mean = max_over_mean(device_load(load, config.num_devices));
  config.placement = candidate.placement.expert;
  outcome.step_s = predict_run(config, routing, hardware).time_s;
  return outcome;
}

// Returns the answer in one sentence: which placement is predicted to be the fastest, and when it pays.
std::string placement_answer(const std::vector<Outcome>& outcomes) {
  const Outcome& before = outcomes.front();
  const Outcome& best =
      *std::min_element(outcomes.begin(), outcomes.end(),
                        [](const Outcome& a, const Outcome& b) { return a.step_s < b.step_s; });
  const std::optional<double> pays = best.break_even(before);
  if (!pays) return fmt::format("No placement is predicted to be faster than {}.\n", before.name);
  return fmt::format("{} is predicted to be the fastest: {:.2f} times the speed of {}{}.\n", best.name,
                     before.step_s / best.step_s, before.name,
                     best.move_s > 0 ? fmt::format(", which pays for moving there after {:.0f} step{}",
                                                   std::ceil(*pays), std::ceil(*pays) == 1 ? "" : "s")
                                     : "");
}

std::string outcome_table(const std::vector<Outcome>& outcomes) {
  std::vector<std::vector<std::string>> rows;
  const Outcome& before = outcomes.front();
  for (const Outcome& o : outcomes) {
    const std::optional<double> pays = o.break_even(before);
    rows.push_back({o.name, fmt::format("{:.3f}", o.device_max_over_mean),
                    fmt::format("{:.3f}", 1e3 * o.step_s), fmt::format("{:.2f}", before.step_s / o.step_s),
                    std::to_string(o.moved_experts), fmt::format("{:.2f}", o.moved_bytes / 1e6),
                    fmt::format("{:.3f}", 1e3 * o.move_s),
                    pays            ? fmt::format("{:.0f}", std::ceil(*pays))
                    : &o == &before ? ""
                                    : "never"});
  }
  return format_table({"placement", "max over mean", "ms a step", "speed", "experts moved", "MB",
                       "ms to move", "pays after steps"},
                      rows);
}

// Returns what the prediction rests on, and how the placement is measured.
std::string balance_closing(const BalanceOptions& o, const std::string& error) {
  const std::string file = o.save_placement.empty() ? "FILE" : shell_word(o.save_placement);
  std::string next = fmt::format(
      "moehill bench --parallel-mode ep --placement {}, with the other options of this problem, measures it",
      file);
  if (o.save_placement.empty())
    next = fmt::format("{}--save-placement FILE keeps the fastest, and {}",
                       o.bias_updates > 0 ? "without --bias-updates, " : "", next);
  return fmt::format("\nHow sure this is:\n{}\nNext: {}.\n", error, next);
}

std::string lines_of(const BalanceOptions& o, const RunConfig& config, const Hardware& hardware,
                     const std::vector<Outcome>& outcomes) {
  std::string lines;
  const DistributionOptions& tried = o.point.bench.distributions.front();
  for (const Outcome& outcome : outcomes) {
    const std::optional<double> pays = outcome.break_even(outcomes.front());
    const Json json = {{"schema", "moehill/1"},
                       {"command", "balance"},
                       {"hardware", hardware.name},
                       {"shape", to_string(config.shape)},
                       {"expert_form", to_string(config.shape.form)},
                       {"router", router_text(config.shape.router, tried)},
                       {"bench_pass", name_of(config.block.pass)},
                       {"spread", name_of(config.spread)},
                       {"nodes", nodes_of(hardware, config.num_devices)},
                       {"devices", config.num_devices},
                       {"units_per_device", config.threads_per_device},
                       {"distribution", to_string(tried)},
                       {"fit", to_string(o.fit.value_or(tried))},
                       {"seed", o.point.bench.seed},
                       {"placement", outcome.name},
                       {"expert_max_over_mean", outcome.expert_max_over_mean},
                       {"device_max_over_mean", outcome.device_max_over_mean},
                       {"time_s", outcome.step_s},
                       {"moved_experts", outcome.moved_experts},
                       {"moved_bytes", outcome.moved_bytes},
                       {"move_s", outcome.move_s},
                       {"break_even_steps", pays ? Json(*pays) : Json(nullptr)}};
    lines += json_line(json);
  }
  return lines;
}

}  // namespace

int balance_command(const std::vector<std::string>& args) {
  BalanceOptions o;
  if (!parse_balance_options(args, o)) return kExitDone;
  const std::string& file = o.point.json;
  require_writable_json(file);
  if (!o.save_placement.empty()) require_writable_file("--save-placement", o.save_placement);
  const ChosenHardware chosen = choose_hardware(o.point);
  const Hardware& hardware = chosen.hardware;
  RunConfig config = predicted_config(o.point, hardware, ParallelMode::ep);
  refuse_impossible(o, config);
  const Routing routing = predicted_routing(o.point, config.shape, hardware);
  if (!o.point.bench.ep_path) config.spread = rank_paths(config, routing, hardware).front().path;
  PredictOptions fitted = o.point;
  if (o.fit) fitted.bench.distributions = {*o.fit};
  const Routing fit =
      o.fit ? in_the_name_of_fit([&] { return predicted_routing(fitted, o.point.bench.shape, hardware); })
            : routing;
  std::vector<Candidate> all = candidates(o, config, fit);
  std::vector<Outcome> outcomes;
  for (const Candidate& candidate : all)
    outcomes.push_back(try_out(candidate, all.front().placement, config, routing, hardware));
  // A bias moves no weights, so this outcome keeps the placement by number and has another routing.
  if (o.bias_updates > 0) {
    const Candidate unmoved{"bias, " + count_text(o.bias_updates, "update"), all.front().placement};
    const DistributionOptions& fit_options = fitted.bench.distributions.front();
    outcomes.push_back(
        try_out(unmoved, unmoved.placement, config, biased_routing(o, config, fit_options), hardware));
    all.push_back(unmoved);
  }
  const std::string error = error_of_model(o.point);  // throws for a damaged file, before anything is shown
  std::FILE* table = table_stream(file);
  show(placement_answer(outcomes) + (chosen.note.empty() ? "" : fmt::format("{}\n", chosen.note)), table);
  show(fmt::format("{} by {} on {}, {}; predicted{}\n{}", to_string(config.shape), name_of(config.spread),
                   hardware.name, layout_text(hardware, config.num_devices, config.threads_per_device),
                   o.fit ? ", on other routing than it was made for"
                         : ", on the routing it was made for: the most to expect",
                   outcome_table(outcomes)) +
           balance_closing(o, error),
       table);
  const auto save_best = [&] {
    if (o.save_placement.empty()) return;
    const auto best =
        std::min_element(outcomes.begin(), outcomes.end(),
                         [](const Outcome& a, const Outcome& b) { return a.step_s < b.step_s; });
    write_placement(o.save_placement, all[static_cast<size_t>(best - outcomes.begin())].placement);
    show(fmt::format("{} is in {}\n", best->name, o.save_placement), table);
  };
  write_and_show({[&] { write_json_lines(file, lines_of(o, config, hardware, outcomes)); }, save_best},
                 [] {});
  return kExitDone;
}

}  // namespace moehill

// Rules for options that have no effect in combination with others (flag_effects.h). Each rule gives the
// option, what it was given with, what would be allowed, and a remedy, because input_error() prints all four.
#include "moehill/cli/flag_effects.h"

#include <algorithm>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

// Rule is one combination; `broken` says whether the options at hand are such a one.
struct Rule {
  bool broken;
  std::string option, got, allowed, remedy;
};

template <typename E>
bool holds(const std::vector<E>& values, E value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Returns the rules about devices, paths and placements.
std::vector<Rule> device_rules(const BenchOptions& o, const std::function<bool(const std::string&)>& given) {
  const bool ep = holds(o.modes, ParallelMode::ep);
  const Spread path = o.ep_path.value_or(Spread::compact_psum);
  const bool psum = is_psum(path);
  const std::string only_ep = "nothing but --parallel-mode ep or both";
  const std::string ask_ep = "add --parallel-mode ep or leave it out";
  return {
      {o.overlap && o.modes == std::vector<ParallelMode>{ParallelMode::none}, "--overlap",
       "it with --parallel-mode none", "nothing but several devices",
       "add --parallel-mode ep or leave it out"},
      {!ep && o.ep_path.has_value(), "--ep-path", "it without --parallel-mode ep", only_ep, ask_ep},
      {!ep && o.wire != Wire::native, "--wire", "it without --parallel-mode ep", only_ep, ask_ep},
      {!ep && !o.placement.empty(), "--placement", "it without --parallel-mode ep", only_ep, ask_ep},
      {!(ep && psum) && o.shared_placement != SharedPlacement::sliced, "--shared-placement",
       ep ? "it with --ep-path " + std::string(name_of(path)) : "it without --parallel-mode ep",
       "nothing but the psum paths, since the others shard the shared expert's tokens anyway",
       "leave it out, or choose --parallel-mode ep with --ep-path compact_psum"},
      {!(ep && o.ep_path == Spread::ring_ag_rs) && o.split_rows.has_value(), "--ring-split",
       "it without --ep-path ring_ag_rs", "nothing but --parallel-mode ep or both with --ep-path ring_ag_rs",
       "leave it out"},
      {!ep && given("--none-threads") && (o.devices > 1 || o.threads_per_device > 0), "--none-threads",
       "it beside --devices or --threads-per-device with --parallel-mode none",
       "one way to say the threads of none", "leave --devices and --threads-per-device out"},
      {!holds(o.modes, ParallelMode::none) && given("--none-threads"), "--none-threads",
       "it without a point of --parallel-mode none", "nothing but --parallel-mode none or both",
       "set the threads of ep by --threads-per-device"},
      {o.shape.shared_dim == 0 && o.shared_placement != SharedPlacement::sliced, "--shared-placement",
       "it without a shared expert", "nothing but --shared-expert-dim above 0", "leave it out"},
  };
}

// Returns the rules about the block: backend, pass, capacity, losses.
std::vector<Rule> block_rules(const BenchOptions& o, const std::function<bool(const std::string&)>& given) {
  const bool forward = o.block.pass == Pass::forward;
  return {
      {o.block.shared_fused && o.shape.shared_dim == 0, "--shared-fused", "it without a shared expert",
       "nothing but --shared-expert-dim above 0", "leave it out"},
      {o.shape.form.shared_gate && o.shape.shared_dim == 0, "--expert-form",
       "shared-gate without a shared expert", "nothing but --shared-expert-dim above 0",
       "leave shared-gate out"},
      {o.check == CheckMode::off && o.check_seed.has_value(), "--check-seed", "it with --check off",
       "nothing but --check sample or full", "leave one of the two out"},
      {o.block.backend != Backend::gmm && !(o.block.blocks == BlockSizes{}), "--blocks",
       "it with --backend ragged_dot", "nothing but gmm, whose blocks they are", "leave it out"},
      {o.block.router_grad && forward, "--router-grad", "it with --bench-pass forward",
       "nothing but forward_backward", "add --bench-pass forward_backward or leave it out"},
      {!o.block.balance_loss.empty() && !o.block.router_grad, "--balance-loss", "it without --router-grad",
       "nothing but --router-grad, to whose gradient it adds", "add --router-grad or leave it out"},
      {!o.ablations.empty() && (o.overlap || !o.dump.empty()), "--ablate",
       o.overlap ? "it with --overlap" : "it with --dump",
       "steps of which each has results of its own or none", "leave one of the two out"},
      {o.block.router_product && o.overlap, "--overlap", "it with --router product",
       "steps whose router is not a product", "leave one of the two out"},
      {o.block.router_product && given("--distribution"), "--distribution", "it with --router product",
       "logits that are x W_g", "leave one of the two out"},
      {o.block.remat != Remat::none && forward, "--remat-mode",
       std::string(name_of(o.block.remat)) + " with --bench-pass forward",
       "none, since a forward pass alone keeps nothing", "add --bench-pass forward_backward or leave it out"},
      {holds(o.queue_modes, QueueMode::prequeue) && !forward, "--queue-mode",
       "prequeue with --bench-pass forward_backward",
       "full, since a training step routes anew and prequeue would change nothing",
       "add --bench-pass forward or --queue-mode full"},
      {o.block.capacity.policy == CapacityPolicy::none && o.block.capacity.factor > 0, "--capacity-factor",
       "it with --capacity-policy none", "nothing but --capacity-policy drop or pad",
       "add one of these or leave it out"},
      {o.block.capacity.policy != CapacityPolicy::none && o.block.capacity.factor <= 0, "--capacity-policy",
       std::string(name_of(o.block.capacity.policy)) + " without a capacity", "a --capacity-factor above 0",
       "add for example --capacity-factor 1.25"},
  };
}

// Returns one rule for each option that only --capacity-policy drop uses.
std::vector<Rule> capacity_rules(const BenchOptions& o,
                                 const std::function<bool(const std::string&)>& given) {
  std::vector<Rule> rules;
  const std::string policy = name_of(o.block.capacity.policy);
  for (const char* option :
       {"--capacity-order", "--capacity-pool", "--capacity-sources", "--capacity-spares"}) {
    rules.push_back({o.block.capacity.policy != CapacityPolicy::drop && given(option), option,
                     "it with --capacity-policy " + policy, "nothing but --capacity-policy drop",
                     "add it or leave the option out"});
  }
  return rules;
}

// Returns the rules about routing: distributions, traces and what is saved.
std::vector<Rule> routing_rules(const BenchOptions& o, const std::function<bool(const std::string&)>& given) {
  const bool runs = std::any_of(o.distributions.begin(), o.distributions.end(),
                                [](const DistributionOptions& d) { return d.kind == Distribution::runs; });
  const bool trace = o.distributions.front().kind == Distribution::trace;
  const bool several = o.distributions.size() > 1 || o.topk_list.size() > 1;
  const bool saves = !o.save_routing.empty();
  const std::string extension = std::filesystem::path(o.save_routing).extension();
  std::error_code ignored;
  const std::string without = "it with --distribution " + to_string(o.distributions.front());
  const std::string only_runs = "nothing but --distribution runs or both",
                    ask_runs = "add one of these or leave it out";
  return {
      {!runs && given("--run-alpha"), "--run-alpha", without, only_runs, ask_runs},
      {!runs && given("--run-noise-scale"), "--run-noise-scale", without, only_runs, ask_runs},
      {trace && o.tokens_auto, "--tokens", "auto with a trace", "a number, of tokens that the trace has",
       "give the number"},
      {trace && o.block.router_grad, "--router-grad", "it with a trace", "a router with logits",
       "leave it out"},
      {is_ragged(o.distributions.front()) && (o.block.router_grad || o.block.route_in_step),
       o.block.router_grad ? "--router-grad" : "--router in-step", without,
       "any other distribution, all of whose tokens are the router's", "leave it out"},
      {trace && given("--router"), "--router", "it with a trace",
       "no --router: a trace has choices and gate values", "leave it out"},
      {saves && o.block.router_product, "--save-routing", "it with --router product",
       "logits of --distribution", "leave one of the two out"},
      {saves && several, "--save-routing", "it with several routings", "one --topk and one --distribution",
       "save them one by one"},
      {saves && extension != ".npy" && extension != ".jsonl", "--save-routing",
       moehill::quoted(o.save_routing), "a name that ends in .jsonl or .npy", "add one of these"},
      {saves && trace &&
           std::filesystem::equivalent(o.save_routing, o.distributions.front().trace.file, ignored),
       "--save-routing", "the trace that is replayed", "another file", "choose another name"},
      {given("--topk") && given("--topk-list"), "--topk", "it beside --topk-list", "one of the two",
       "leave --topk out"},
  };
}

}  // namespace

void refuse_flags_without_effect(const BenchOptions& options,
                                 const std::function<bool(const std::string&)>& given) {
  for (const auto& rules : {block_rules(options, given), capacity_rules(options, given),
                            device_rules(options, given), routing_rules(options, given)}) {
    for (const Rule& rule : rules) {
      if (rule.broken) throw input_error(rule.option, rule.got, rule.allowed, rule.remedy);
    }
  }
}

}  // namespace moehill

// Implementation of cli/flag_effects.h: the rules for options that have no effect in combination with others.
// Each rule has a sentence that names the options, and a remedy; usage_error() prints both.
#include "moehill/cli/flag_effects.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

// Rule is one combination; `broken` says whether the given options have this combination.
struct Rule {
  bool broken;
  std::string sentence, remedy;
};

template <typename E>
bool holds(const std::vector<E>& values, E value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Returns the rules about devices, paths and placements.
std::vector<Rule> device_rules(const BenchOptions& o, const std::function<bool(const std::string&)>& given) {
  const bool ep = holds(o.modes, ParallelMode::ep);
  const Spread path = o.ep_path.value_or(Spread::compact_psum);
  const std::string needs_ep = " needs --parallel-mode ep or both";
  const std::string ask_ep = "add --parallel-mode ep or leave it out";
  return {
      {o.overlap && o.modes == std::vector<ParallelMode>{ParallelMode::none},
       "--overlap needs several devices, and --parallel-mode none has one", ask_ep},
      {!ep && o.ep_path.has_value(), "--ep-path" + needs_ep, ask_ep},
      {!ep && o.wire != Wire::native, "--wire" + needs_ep, ask_ep},
      {!ep && !o.placement.empty(), "--placement" + needs_ep, ask_ep},
      {!(ep && is_psum(path)) && o.shared_placement != SharedPlacement::sliced,
       "--shared-placement needs a psum path, since the others shard the shared expert's tokens anyway",
       "leave it out, or use --parallel-mode ep --ep-path compact_psum"},
      {!(ep && o.ep_path == Spread::ring_ag_rs) && o.split_rows.has_value(),
       "--ring-split needs --ep-path ring_ag_rs with --parallel-mode ep or both", "leave it out"},
      {!(ep && o.ep_path == Spread::fused) && o.waves > 0,
       "--waves needs --ep-path fused with --parallel-mode ep or both", "leave it out"},
      {!ep && given("--none-threads") && (o.devices > 1 || o.threads_per_device > 0),
       "--none-threads cannot be used with --devices or --threads-per-device, which set the threads of none "
       "too",
       "leave --devices and --threads-per-device out"},
      {!holds(o.modes, ParallelMode::none) && given("--none-threads"),
       "--none-threads needs --parallel-mode none or both", "set the threads of ep by --threads-per-device"},
      {o.shape.shared_dim == 0 && o.shared_placement != SharedPlacement::sliced,
       "--shared-placement needs a shared expert", "leave it out, or set --shared-expert-dim above 0"},
  };
}

// Returns the rules about the block: backend, pass, capacity, losses.
std::vector<Rule> block_rules(const BenchOptions& o, const std::function<bool(const std::string&)>& given) {
  const bool forward = o.block.pass == Pass::forward;
  const std::string one = "leave one of the two out";
  return {
      {o.block.shared_fused && o.shape.shared_dim == 0, "--shared-fused needs a shared expert",
       "leave it out, or set --shared-expert-dim above 0"},
      {o.shape.form.shared_gate && o.shape.shared_dim == 0,
       "--expert-form: shared-gate needs a shared expert",
       "leave shared-gate out, or set --shared-expert-dim above 0"},
      {o.check == CheckMode::off && o.check_seed.has_value(), "--check-seed needs --check sample or full",
       one},
      {o.check == CheckMode::off && !o.checked.empty(), "--checked needs --check sample or full", one},
      {o.block.backend != Backend::gmm && !(o.block.blocks == BlockSizes{}),
       "--blocks needs --backend gmm, since other backends have no blocks", "leave it out"},
      {o.block.router_grad && forward, "--router-grad needs a backward pass",
       "use --bench-pass forward_backward"},
      {!o.block.balance_loss.empty() && !o.block.router_grad,
       "--balance-loss needs --router-grad, since its gradients are added there",
       "add --router-grad or leave it out"},
      {!o.ablations.empty() && (o.overlap || !o.dump.empty()),
       fmt::format("--ablate cannot be used with {}, since its steps have no results",
                   o.overlap ? "--overlap" : "--dump"),
       one},
      {o.block.router_product && o.overlap, "--overlap cannot be used with --router product", one},
      {o.block.router_product && given("--distribution"),
       "--distribution cannot be used with --router product, whose logits are x W_g", one},
      {o.block.remat != Remat::none && forward,
       fmt::format("--remat-mode {} needs a backward pass: a forward pass alone keeps nothing",
                   name_of(o.block.remat)),
       "use --bench-pass forward_backward or leave it out"},
      {holds(o.queue_modes, QueueMode::prequeue) && !forward,
       "--queue-mode prequeue needs --bench-pass forward: a training step routes anew",
       "add --bench-pass forward, or use --queue-mode full"},
      {o.block.capacity.policy == CapacityPolicy::none && o.block.capacity.factor > 0,
       "--capacity-factor needs --capacity-policy drop or pad", "add one of these or leave it out"},
      {o.block.capacity.policy != CapacityPolicy::none && o.block.capacity.factor <= 0,
       fmt::format("--capacity-policy {} needs a --capacity-factor above 0",
                   name_of(o.block.capacity.policy)),
       "add for example --capacity-factor 1.25"},
  };
}

// Returns one rule for each option that only --capacity-policy drop uses.
std::vector<Rule> capacity_rules(const BenchOptions& o,
                                 const std::function<bool(const std::string&)>& given) {
  std::vector<Rule> rules;
  for (const char* option :
       {"--capacity-order", "--capacity-pool", "--capacity-sources", "--capacity-spares"}) {
    rules.push_back(
        {o.block.capacity.policy != CapacityPolicy::drop && given(option),
         fmt::format("{} needs --capacity-policy drop, and not {}", option, name_of(o.block.capacity.policy)),
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
  const std::string own = "--distribution " + to_string(o.distributions.front());
  const std::string needs_runs = " needs --distribution runs or both, and not " + own;
  const std::string ask_runs = "add one of these or leave it out", one = "leave one of the two out";
  return {
      {!runs && given("--run-alpha"), "--run-alpha" + needs_runs, ask_runs},
      {!runs && given("--run-noise-scale"), "--run-noise-scale" + needs_runs, ask_runs},
      {trace && o.tokens_auto, "--tokens auto cannot be used with a trace", "give the number of its tokens"},
      {trace && o.block.router_grad, "--router-grad needs a router with logits, which a trace does not have",
       "leave it out"},
      {is_ragged(o.distributions.front()) && (o.block.router_grad || o.block.route_in_step),
       fmt::format("{} cannot be used with {}, some of whose tokens are not the router's",
                   o.block.router_grad ? "--router-grad" : "--router in-step", own),
       "leave it out"},
      {trace && given("--router"),
       "--router cannot be used with a trace, which has choices and gate values already", "leave it out"},
      {saves && o.block.router_product,
       "--save-routing cannot be used with --router product: it saves logits of --distribution", one},
      {saves && !trace && o.shape.router.zero_experts > 0,
       "--save-routing cannot be used with zero experts, whose choices a trace does not hold", one},
      {saves && several, "--save-routing needs one --topk and one --distribution", "save them one by one"},
      {saves && extension != ".npy" && extension != ".jsonl",
       fmt::format("--save-routing needs a name that ends in .jsonl or .npy, and not {}",
                   moehill::quoted(o.save_routing)),
       "add one of these"},
      {saves && trace &&
           std::filesystem::equivalent(o.save_routing, o.distributions.front().trace.file, ignored),
       "--save-routing cannot write to the trace that is replayed", "choose another name"},
      {given("--topk") && given("--topk-list"), "--topk cannot be used with --topk-list", "leave --topk out"},
  };
}

}  // namespace

void refuse_flags_without_effect(const BenchOptions& options,
                                 const std::function<bool(const std::string&)>& given) {
  for (const auto& rules : {block_rules(options, given), capacity_rules(options, given),
                            device_rules(options, given), routing_rules(options, given)}) {
    for (const Rule& rule : rules) {
      if (rule.broken) throw usage_error(rule.sentence, rule.remedy);
    }
  }
}

}  // namespace moehill

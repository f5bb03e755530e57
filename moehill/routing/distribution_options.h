// The distribution of router logits with its parameters, and the refusal of impossible ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/base/fields.h"
#include "moehill/routing/router_rule.h"
#include "moehill/routing/trace_selection.h"

namespace moehill {

enum class Distribution {
  random,
  runs,
  zipf,
  hot_experts,
  hot_device,
  balanced,
  k_hot,
  dirichlet,
  drift,
  workload,  // W0 to W7
  trace,     // recorded: there are no logits
};

struct DistributionOptions {
  Distribution kind = Distribution::random;
  double run_alpha =
      0.98;  // run lengths are geometric with p = clamp(1 / max(2, 1 / (1 - alpha)), 0.01, 0.9)
  double run_noise_scale = 0.35;  // standard deviation of the logits below the +6 of the run's expert
  double zipf_exponent = 0;
  int64_t num_hot = 0;   // hot_experts, k_hot: how many
  double hot_share = 0;  // hot_experts, hot_device: their share of all assignments; k_hot: of all tokens
  double alpha = 0;      // dirichlet, drift: of the popularity of each expert
  int64_t period = 1;    // drift: steps from one popularity to the next
  int64_t step = 0;      // drift, W0 to W7: whose routing it is
  int workload = 0;      // 0 to 7
  TraceSelection trace{};
  int devices = 1;  // hot_device, balanced: the P that the experts are shared by

  bool operator==(const DistributionOptions&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit);
};

// "random", "zipf:1.2", "hot-experts:4,0.5", "W6:3": as the command line has it.
std::string to_string(const DistributionOptions& options);

// The command line takes these forms.
inline constexpr const char* kDistributionForms =
    "random|runs|both|balanced|zipf:S|hot-experts:N,F|hot-device:F|k-hot:N,F|dirichlet:A|drift:A,PERIOD,STEP|"
    "W0..W7[:STEP]|trace:FILE[,layer=L][,step=S][,gates=FILE]";

// Parses a text that to_string() made into one distribution, or into random and runs for `both`. Parameters
// that belong to the whole command (run_alpha, run_noise_scale, devices) keep their defaults. Throws
// InputError.
std::vector<DistributionOptions> parse_distributions(const std::string& text);

// Throws InputError for a parameter out of its range, and for a property that no routing of this E and k can
// have: hot experts that a token would have to choose twice, or a balance over devices that do not divide E.
void refuse_impossible(const DistributionOptions& options, int num_experts, int topk);

// W4: some tokens are not there (workloads.h). A router has no say in that, so it is not in the step, and
// there is no gradient of its logits.
bool is_ragged(const DistributionOptions& options);

// A trace has choices and gate values already. What it leaves of a router is which side of an expert they
// multiply; any other distribution leaves all.
RouterRule used_router(const RouterRule& rule, const DistributionOptions& options);
// The router as messages and records name it: the rule, or of a trace "trace" and what is left.
std::string router_text(const RouterRule& rule, const DistributionOptions& options);
// The rule of such a text. Throws InputError.
RouterRule parse_router_text(const std::string& text);

template <typename Self, typename Visit>
void DistributionOptions::fields(Self& self, Visit&& visit) {
  const bool runs = self.kind == Distribution::runs;
  const bool counts_devices = self.kind == Distribution::hot_device || self.kind == Distribution::balanced;
  std::string text = to_string(self);
  visit(Field{"distribution"}, Told{text});
  if constexpr (!std::is_const_v<Self>) self = parse_distributions(text).front();
  visit(Field{"run_alpha", "runs: persistence; runs last about 1/(1-alpha) tokens", 0, 0.999999, runs},
        self.run_alpha);
  visit(Field{"run_noise_scale", "runs: deviation of the logits below the run's +6", 0, 1e6, runs},
        self.run_noise_scale);
  visit(Field{"distribution_devices", "", 1, 1024, counts_devices}, self.devices);
}

}  // namespace moehill

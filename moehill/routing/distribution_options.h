// DistributionOptions is the distribution of router logits as a value: its kind and parameters, and its text
// form on the command line. This header also refuses what no routing can have. distribution.h makes logits
// from it, and says what each kind is.
//
//   const DistributionOptions zipf = parse_distributions("zipf:1.2").front();
//   to_string(zipf);   // "zipf:1.2"
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/base/fields.h"
#include "moehill/routing/router_rule.h"
#include "moehill/routing/trace_selection.h"

namespace moehill {

// Distribution is the kind of a distribution.
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
  trace,     // a recorded routing, for which there are no logits
};

// DistributionOptions is a distribution with its parameters. A comment says for which kinds a parameter is.
struct DistributionOptions {
  Distribution kind = Distribution::random;
  double run_alpha =
      0.98;  // run lengths are geometric with p = clamp(1 / max(2, 1 / (1 - alpha)), 0.01, 0.9)
  double run_noise_scale = 0.35;  // runs: deviation of the logits that are not raised by 6
  double zipf_exponent = 0;
  int64_t num_hot = 0;   // hot_experts, k_hot: the number of hot experts
  double hot_share = 0;  // hot_experts, hot_device: their share of all assignments; k_hot: share of the
                         // tokens that choose among them
  // Dirichlet, drift: the parameter of the popularity; a small one makes few experts popular.
  double alpha = 0;
  int64_t period = 1;  // drift: steps from one popularity to the next
  int64_t step = 0;    // drift, W0 to W7: the step whose routing is made
  int workload = 0;    // 0 to 7
  TraceSelection trace{};
  int devices = 1;  // hot_device, balanced: the number of devices that share the experts

  bool operator==(const DistributionOptions&) const = default;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit);
};

// Returns the text for the command line: "random", "zipf:1.2", "hot-experts:4,0.5", "W6:3".
std::string to_string(const DistributionOptions& options);

// All forms that --distribution takes.
inline constexpr const char* kDistributionForms =
    "random|runs|both|balanced|zipf:S|hot-experts:N,F|hot-device:F|k-hot:N,F|dirichlet:A|drift:A,PERIOD,STEP|"
    "W0..W7[:STEP]|trace:FILE[,layer=L][,step=S][,gates=FILE]";

// Reads a text: one distribution, or random and runs for "both". Parameters that belong to the whole command
// (run_alpha, run_noise_scale, devices) keep their defaults. Throws InputError.
std::vector<DistributionOptions> parse_distributions(const std::string& text);

// Throws InputError for a parameter out of its range, and for a property that no routing of E experts and k
// choices can have: hot experts that a token would have to choose twice, or a balance over a number of
// devices that does not divide the experts. The last num_zero of the E experts are zero experts, which a
// token may choose and no device has.
void refuse_impossible(const DistributionOptions& options, int num_experts, int topk, int num_zero = 0);

// Returns true if a routing of this kind depends on how many devices share the experts.
constexpr bool depends_on_devices(Distribution kind) {
  return kind == Distribution::hot_device || kind == Distribution::balanced;
}

// Returns true if both make the same routing for the same shape and seed. The number of devices only counts
// for a distribution that depends on it.
bool same_routing(const DistributionOptions& a, const DistributionOptions& b);

// Returns true for W4, which leaves out some tokens (workloads.h). A router cannot leave out tokens, so with
// W4 it does not run in the step, and the logits get no gradient.
bool is_ragged(const DistributionOptions& options);

// Returns the part of a router's rule that has an effect. A trace has its own choices and gate values, so
// only one part of the rule is left: whether gate values multiply the input or the output of an expert. Other
// distributions use the whole rule.
RouterRule used_router(const RouterRule& rule, const DistributionOptions& options);
// Returns the router's name in messages and records: the rule, or for a trace "trace" and the part of the
// rule that is left.
std::string router_text(const RouterRule& rule, const DistributionOptions& options);
// Reads such a name. Throws InputError.
RouterRule parse_router_text(const std::string& text);

// Writes and reads the distribution as its text; parameters without a place in the text are fields of their
// own.
template <typename Self, typename Visit>
void DistributionOptions::fields(Self& self, Visit&& visit) {
  const bool runs = self.kind == Distribution::runs;
  const bool counts_devices = depends_on_devices(self.kind);
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

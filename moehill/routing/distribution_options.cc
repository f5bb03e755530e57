// Reads and writes the text form of a distribution, and refuses parameters that no routing can satisfy.
#include "moehill/routing/distribution_options.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

void refuse_bad_runs(const DistributionOptions& o) {
  if (!(o.run_alpha >= 0 && o.run_alpha <= 1)) {
    throw input_error("--run-alpha", fmt::format("{}", o.run_alpha), "0 to 1",
                      "0.98 gives runs of 50 tokens");
  }
  if (!(o.run_noise_scale >= 0) || std::isinf(o.run_noise_scale)) {
    throw input_error("--run-noise-scale", fmt::format("{}", o.run_noise_scale), "0 or more", "try 0.35");
  }
}

// The choices of a token are distinct. So at most num_hot of them are hot and at most E - num_hot are not,
// which limits the share.
void refuse_bad_share(const DistributionOptions& o, int64_t num_hot, int num_experts, int topk) {
  const std::string option = "--distribution " + to_string(o);
  if (num_hot < 1 || num_hot > num_experts) {
    throw input_error(option, fmt::format("{} hot of {}", num_hot, count_text(num_experts, "expert")),
                      "1 to all experts", "choose another number of experts or devices");
  }
  const double least = std::max(0.0, 1 - static_cast<double>(num_experts - num_hot) / topk);
  const double most = std::min(1.0, static_cast<double>(num_hot) / topk);
  if (o.hot_share >= least - 1e-12 && o.hot_share <= most + 1e-12) return;
  throw input_error(option,
                    fmt::format("a share of {} for {} of {} at top-k {}", o.hot_share, num_hot,
                                count_text(num_experts, "expert"), topk),
                    fmt::format("{:.4g} to {:.4g}, since a token's choices are distinct", least, most),
                    "choose another share, more hot experts or a smaller --topk");
}

const std::string kTraceRouter = "trace";  // the name that a record gives as router if the routing is a trace

constexpr double kMostAlpha = 1e6, kLeastAlpha = 1e-3;
constexpr int64_t kMostSteps = 1000000000;

DistributionOptions of_kind(Distribution kind) {
  DistributionOptions options;
  options.kind = kind;
  return options;
}

[[noreturn]] void refuse(const std::string& text) {
  throw input_error("--distribution", quoted(text), kDistributionForms,
                    "for example zipf:1.2 or hot-experts:4,0.5");
}

// Reads the values N,F of hot-experts and k-hot, or F of hot-device.
void parse_hot(const std::string& option, const std::vector<std::string>& values, DistributionOptions& hot) {
  if (values.size() == 2) hot.num_hot = parse_integer(option, values[0], 1, 65536);
  hot.hot_share = parse_number(option, values.back(), 0, 1);
}

void parse_popularity(const std::string& option, const std::vector<std::string>& values,
                      DistributionOptions& options) {
  options.alpha = parse_number(option, values[0], kLeastAlpha, kMostAlpha);
  if (options.kind == Distribution::dirichlet) return;
  options.period = parse_integer(option, values[1], 1, kMostSteps);
  options.step = parse_integer(option, values[2], 0, kMostSteps);
}

// Reads a distribution with values behind a colon. Each kind has a fixed number of them.
DistributionOptions parse_with_values(const std::string& text, const std::string& name,
                                      const std::vector<std::string>& values) {
  struct Form {
    const char* name;
    Distribution kind;
    size_t num_values;
  };
  static constexpr Form kForms[] = {{"zipf", Distribution::zipf, 1},
                                    {"hot-experts", Distribution::hot_experts, 2},
                                    {"hot-device", Distribution::hot_device, 1},
                                    {"k-hot", Distribution::k_hot, 2},
                                    {"dirichlet", Distribution::dirichlet, 1},
                                    {"drift", Distribution::drift, 3}};
  const auto form =
      std::find_if(std::begin(kForms), std::end(kForms), [&](const Form& f) { return name == f.name; });
  if (form == std::end(kForms) || values.size() != form->num_values) refuse(text);
  DistributionOptions options = of_kind(form->kind);
  const std::string option = "--distribution " + name;
  if (form->kind == Distribution::zipf) {
    options.zipf_exponent = parse_number(option, values[0], 0, 10);
  } else if (form->kind == Distribution::dirichlet || form->kind == Distribution::drift) {
    parse_popularity(option, values, options);
  } else {
    parse_hot(option, values, options);
  }
  return options;
}

// True for "W0" to "W7", with or without a step behind a colon.
bool is_workload_name(const std::string& text) {
  return text.size() >= 2 && text[0] == 'W' && text[1] >= '0' && text[1] <= '7' &&
         (text.size() == 2 || text[2] == ':');
}

DistributionOptions parse_workload(const std::string& text) {
  DistributionOptions options = of_kind(Distribution::workload);
  options.workload = text[1] - '0';
  if (text.size() > 2)
    options.step = parse_integer("--distribution " + text.substr(0, 2), text.substr(3), 0, kMostSteps);
  return options;
}

}  // namespace

std::string to_string(const DistributionOptions& o) {
  switch (o.kind) {
    case Distribution::random:
      return "random";
    case Distribution::runs:
      return "runs";
    case Distribution::zipf:
      return fmt::format("zipf:{}", o.zipf_exponent);
    case Distribution::hot_experts:
      return fmt::format("hot-experts:{},{}", o.num_hot, o.hot_share);
    case Distribution::hot_device:
      return fmt::format("hot-device:{}", o.hot_share);
    case Distribution::balanced:
      return "balanced";
    case Distribution::k_hot:
      return fmt::format("k-hot:{},{}", o.num_hot, o.hot_share);
    case Distribution::dirichlet:
      return fmt::format("dirichlet:{}", o.alpha);
    case Distribution::drift:
      return fmt::format("drift:{},{},{}", o.alpha, o.period, o.step);
    case Distribution::workload:
      return o.step == 0 ? fmt::format("W{}", o.workload) : fmt::format("W{}:{}", o.workload, o.step);
    case Distribution::trace:
      return "trace:" + to_string(o.trace);
  }
  return "";
}

void refuse_impossible(const DistributionOptions& o, int num_experts, int topk, int num_zero_experts) {
  const std::string option = "--distribution " + to_string(o);
  const int num_placed = num_experts - num_zero_experts;  // experts that devices have
  if (o.kind == Distribution::runs) refuse_bad_runs(o);
  if (o.kind == Distribution::zipf && !(o.zipf_exponent >= 0 && o.zipf_exponent <= 10)) {
    throw input_error(option, fmt::format("{}", o.zipf_exponent), "an exponent from 0 to 10",
                      "zipf:1 is a common skew");
  }
  const auto spread = [&] {
    return fmt::format("{} over {}", count_text(num_placed, "expert"), count_text(o.devices, "device"));
  };
  if (o.kind == Distribution::balanced && num_placed % o.devices != 0) {
    throw input_error(option, spread(), "devices that divide the experts",
                      "choose other --devices or --experts");
  }
  if (o.kind == Distribution::hot_device && num_placed < o.devices) {
    throw input_error(
        option, spread(),
        fmt::format("at most {}, or the hot one has no expert", count_text(num_placed, "device")),
        "choose fewer devices or more experts");
  }
  if (o.kind == Distribution::k_hot && (o.num_hot < topk || o.num_hot > num_experts)) {
    throw input_error(option, count_text(o.num_hot, "hot expert"),
                      fmt::format("{} to {}: a hot token's choices are all hot", topk, num_experts),
                      "choose another number, or a smaller --topk");
  }
  if (o.kind == Distribution::workload && o.workload == 5 && topk > num_experts - num_experts / 2) {
    throw input_error(option, fmt::format("top-k {}", topk),
                      fmt::format("1 to {}, half of the experts", num_experts - num_experts / 2),
                      "choose a smaller --topk");
  }
  if (o.kind == Distribution::hot_experts) refuse_bad_share(o, o.num_hot, num_experts, topk);
  if (o.kind == Distribution::hot_device) refuse_bad_share(o, num_placed / o.devices, num_experts, topk);
}

bool same_routing(const DistributionOptions& a, const DistributionOptions& b) {
  DistributionOptions other = b;
  if (!depends_on_devices(b.kind)) other.devices = a.devices;
  return a == other;
}

// Names without values are tried first, then workloads, then the kinds with values.
std::vector<DistributionOptions> parse_distributions(const std::string& text) {
  if (text == "both") return {of_kind(Distribution::random), of_kind(Distribution::runs)};
  for (const Distribution kind : {Distribution::random, Distribution::runs, Distribution::balanced}) {
    if (text == to_string(of_kind(kind))) return {of_kind(kind)};
  }
  if (is_workload_name(text)) return {parse_workload(text)};
  const size_t colon = text.find(':');
  if (colon == std::string::npos) refuse(text);
  if (text.substr(0, colon) == "trace") {
    DistributionOptions options = of_kind(Distribution::trace);
    options.trace = parse_trace_selection(text.substr(colon + 1));
    return {options};
  }
  return {parse_with_values(text, text.substr(0, colon), split(text.substr(colon + 1), ','))};
}

bool is_ragged(const DistributionOptions& options) {
  return options.kind == Distribution::workload && options.workload == 4;
}

RouterRule used_router(const RouterRule& rule, const DistributionOptions& options) {
  if (options.kind != Distribution::trace) return rule;
  RouterRule used;
  used.input_weighted = rule.input_weighted;
  return used;
}

std::string router_text(const RouterRule& rule, const DistributionOptions& options) {
  std::string text = to_string(used_router(rule, options));
  if (options.kind == Distribution::trace) text.replace(0, text.find(','), kTraceRouter);
  return text;
}

RouterRule parse_router_text(const std::string& text) {
  const std::string first = text.substr(0, text.find(','));
  return parse_router_rule(first == kTraceRouter ? name_of(RouterRule{}.score) + text.substr(first.size())
                                                 : text);
}

}  // namespace moehill

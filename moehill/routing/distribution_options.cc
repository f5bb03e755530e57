// Which distribution of router logits, with its parameters, and what of it cannot be.
#include "moehill/routing/distribution_options.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

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

// A token's choices are distinct: at most num_hot of them are hot, and at most E - num_hot are not.
void refuse_bad_share(const DistributionOptions& o, int64_t num_hot, int num_experts, int topk) {
  const std::string option = "--distribution " + to_string(o);
  if (num_hot < 1 || num_hot > num_experts) {
    throw input_error(option, fmt::format("{} hot of {} experts", num_hot, num_experts), "1 to all experts",
                      "choose another number of experts or devices");
  }
  const double least = std::max(0.0, 1 - static_cast<double>(num_experts - num_hot) / topk);
  const double most = std::min(1.0, static_cast<double>(num_hot) / topk);
  if (o.hot_share >= least - 1e-12 && o.hot_share <= most + 1e-12) return;
  throw input_error(
      option,
      fmt::format("a share of {} for {} of {} experts at top-k {}", o.hot_share, num_hot, num_experts, topk),
      fmt::format("{:.4g} to {:.4g}, since a token's choices are distinct", least, most),
      "choose another share, more hot experts or a smaller --topk");
}

const char* const kAllowed =
    "random, runs, both, balanced, zipf:EXPONENT, hot-experts:NUMBER,SHARE, hot-device:SHARE";

DistributionOptions of_kind(Distribution kind) {
  DistributionOptions options;
  options.kind = kind;
  return options;
}

[[noreturn]] void refuse(const std::string& text) {
  throw input_error("--distribution", quoted(text), kAllowed, "for example zipf:1.2 or hot-experts:4,0.5");
}

DistributionOptions parse_with_values(const std::string& text, const std::string& kind,
                                      const std::vector<std::string>& values) {
  const std::string option = "--distribution " + kind;
  if (kind == "zipf" && values.size() == 1) {
    DistributionOptions zipf = of_kind(Distribution::zipf);
    zipf.zipf_exponent = parse_number(option, values[0], 0, 10);
    return zipf;
  }
  const bool device = kind == "hot-device";
  if (!device && kind != "hot-experts") refuse(text);
  if (values.size() != (device ? 1u : 2u)) refuse(text);
  DistributionOptions hot = of_kind(device ? Distribution::hot_device : Distribution::hot_experts);
  if (!device) hot.num_hot = parse_integer(option, values[0], 1, 65536);
  hot.hot_share = parse_number(option, values.back(), 0, 1);
  return hot;
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
  }
  return "";
}

void refuse_impossible(const DistributionOptions& o, int num_experts, int topk) {
  const std::string option = "--distribution " + to_string(o);
  if (o.kind == Distribution::runs) refuse_bad_runs(o);
  if (o.kind == Distribution::zipf && !(o.zipf_exponent >= 0 && o.zipf_exponent <= 10)) {
    throw input_error(option, fmt::format("{}", o.zipf_exponent), "an exponent from 0 to 10",
                      "zipf:1 is a common skew");
  }
  if (o.kind == Distribution::balanced && num_experts % o.devices != 0) {
    throw input_error(option, fmt::format("{} experts over {} devices", num_experts, o.devices),
                      "devices that divide the experts", "choose other --devices or --experts");
  }
  if (o.kind == Distribution::hot_experts) refuse_bad_share(o, o.num_hot, num_experts, topk);
  if (o.kind == Distribution::hot_device) refuse_bad_share(o, num_experts / o.devices, num_experts, topk);
}

std::vector<DistributionOptions> parse_distributions(const std::string& text) {
  if (text == "both") return {of_kind(Distribution::random), of_kind(Distribution::runs)};
  for (const Distribution kind : {Distribution::random, Distribution::runs, Distribution::balanced}) {
    if (text == to_string(of_kind(kind))) return {of_kind(kind)};
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos) refuse(text);
  return {parse_with_values(text, text.substr(0, colon), split(text.substr(colon + 1), ','))};
}

}  // namespace moehill

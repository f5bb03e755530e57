// The option --distribution: words such as `random`, `both` or `hot-experts:4,0.5`.
#include "moehill/cli/distribution_option.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/cli/parse.h"

namespace moehill {
namespace {

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

std::vector<DistributionOptions> parse_distributions(const std::string& text) {
  if (text == "both") return {of_kind(Distribution::random), of_kind(Distribution::runs)};
  for (const Distribution kind : {Distribution::random, Distribution::runs, Distribution::balanced}) {
    if (text == to_string(of_kind(kind))) return {of_kind(kind)};
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos) refuse(text);
  std::vector<std::string> values;
  for (size_t begin = colon + 1; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    values.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return {parse_with_values(text, text.substr(0, colon), values)};
}

void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions) {
  set.custom("--distribution", "random|runs|both|balanced|zipf:S|hot-experts:N,F|hot-device:F",
             to_string(distributions->front()),
             "router's logits; S exponent, F share of all assignments on N experts or on device 0",
             [=](const std::string& text) { *distributions = parse_distributions(text); });
}

}  // namespace moehill

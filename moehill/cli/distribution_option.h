// The option --distribution: words such as `random`, `both` or `hot-experts:4,0.5`.
#pragma once

#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/routing/distribution_options.h"

namespace moehill {

// One distribution, or random and runs for `both`. Parameters that belong to the whole command (run_alpha,
// run_noise_scale, devices) keep their defaults. Throws InputError.
std::vector<DistributionOptions> parse_distributions(const std::string& text);

// Declares --distribution, bound to `distributions`.
void declare_distribution(OptionSet& set, std::vector<DistributionOptions>* distributions);

}  // namespace moehill

// The promise of a distribution about a routing, and whether a routing keeps it.
#pragma once

#include <string>
#include <vector>

#include "moehill/routing/distribution.h"
#include "moehill/routing/plan.h"

namespace moehill {

// A figure of the routing with the range in which the asked one counts as met.
struct SkewProperty {
  std::string name;
  double asked = 0, achieved = 0, lo = 0, hi = 0;
  bool met() const { return achieved >= lo && achieved <= hi; }

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "property", self.name, "asked", self.asked, "achieved", self.achieved, "lo", self.lo,
              "hi", self.hi);
  }
};

// zipf: zipf_exponent, fitted by maximum likelihood to the first choices. hot_*: hot_share of all
// assignments. balanced: expert_load_spread and device_load_spread, the largest load less the smallest. W0:
// expert_load_spread. W4: tokens_there, the share that is. None for the others. Formulas and ranges:
// docs/metrics.md. The routing has at least one token.
std::vector<SkewProperty> skew_properties(const DistributionOptions& options, const Routing& routing,
                                          uint32_t seed);

// Throws InputError for the first property that the routing misses.
void require_properties(const DistributionOptions& options, const Routing& routing, uint32_t seed);

}  // namespace moehill

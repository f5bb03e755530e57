// This header says what a distribution promises about a routing, and whether a routing keeps the promise.
// Runs check this before they measure, so that a result never claims a skew that was not there.
//
//   require_properties(options, routing, seed);   // throws InputError for a promise that is not kept
#pragma once

#include <string>
#include <vector>

#include "moehill/routing/distribution.h"
#include "moehill/routing/plan.h"

namespace moehill {

// SkewProperty is one figure of a routing: the value asked for, the value achieved, and the range that counts
// as met.
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

// Returns the figures that the distribution promises:
//
// - zipf: zipf_exponent, fitted by maximum likelihood to the first choices.
// - hot_*: hot_share of all assignments.
// - balanced: expert_load_spread and device_load_spread, the largest load less the smallest. W0:
//   expert_load_spread.
// - W4: tokens_there, the share of tokens that are not left out.
//
// Other distributions promise nothing. Formulas and ranges are in docs/metrics.md. The routing must have at
// least one token.
std::vector<SkewProperty> skew_properties(const DistributionOptions& options, const Routing& routing,
                                          uint32_t seed);

// Throws InputError for the first promise that the routing does not keep.
void require_properties(const DistributionOptions& options, const Routing& routing, uint32_t seed);

}  // namespace moehill

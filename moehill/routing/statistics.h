// Figures that describe a routing: run lengths of the first choice, load over experts, balance over devices.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/base/fields.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Runs of equal first choices along the tokens.
struct RunStatistics {
  int64_t num = 0;
  double mean = 0, p95 = 0;  // p95: nearest rank
  int64_t max = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "num", self.num, "mean", self.mean, "p95", self.p95, "max", self.max);
  }
};
RunStatistics run_statistics(const Routing& routing);

// Assignments per expert before capacity. std: population; cv = std / mean.
struct LoadStatistics {
  int64_t min = 0, max = 0;
  double std = 0, cv = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "min", self.min, "max", self.max, "std", self.std, "cv", self.cv);
  }
};
std::vector<int64_t> expert_load(const Routing& routing);
int64_t num_unassigned(const Routing& routing);    // assignments of nobody, those of zero experts too
int64_t num_zero_choices(const Routing& routing);  // of zero experts
LoadStatistics load_statistics(const std::vector<int64_t>& load);

// Largest load over mean load; 0 without any load.
double max_over_mean(const std::vector<int64_t>& load);
// Loads summed over the experts of each device: device d of P holds experts share(E, d, P) of
// base/partition.h.
std::vector<int64_t> device_load(const std::vector<int64_t>& load, int num_devices);

}  // namespace moehill

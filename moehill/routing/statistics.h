// This header has figures that describe a routing: run lengths of the first choice, load over the experts,
// balance over the devices. docs/metrics.md defines them. They describe only; skew.h judges.
//
//   const std::vector<int64_t> load = expert_load(routing);             // [E]
//   max_over_mean(device_load(load, num_devices));                      // 1 if perfectly balanced
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/base/fields.h"
#include "moehill/routing/plan.h"

namespace moehill {

// RunStatistics describes runs of equal first choices along the tokens.
struct RunStatistics {
  int64_t num = 0;
  double mean = 0, p95 = 0;  // p95 by nearest rank
  int64_t max = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "num", self.num, "mean", self.mean, "p95", self.p95, "max", self.max);
  }
};
RunStatistics run_statistics(const Routing& routing);

// LoadStatistics describes the load of experts (assignments before capacity). std is the deviation of a
// population; cv = std / mean.
struct LoadStatistics {
  int64_t min = 0, max = 0;
  double std = 0, cv = 0;

  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit_all(visit, "min", self.min, "max", self.max, "std", self.std, "cv", self.cv);
  }
};
// Returns [E]: the number of assignments of each expert.
std::vector<int64_t> expert_load(const Routing& routing);
// Returns the number of assignments without an expert; choices of zero experts count too.
int64_t num_unassigned(const Routing& routing);
int64_t num_zero_choices(const Routing& routing);  // assignments of zero experts
LoadStatistics load_statistics(const std::vector<int64_t>& load);

// Returns the largest load divided by the mean load; 0 if there is no load.
double max_over_mean(const std::vector<int64_t>& load);
// Returns the loads summed over the experts of each device. Device d of P holds the experts share(E, d, P) of
// base/partition.h.
std::vector<int64_t> device_load(const std::vector<int64_t>& load, int num_devices);

}  // namespace moehill

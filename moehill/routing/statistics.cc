// Computes the figures of statistics.h.
#include "moehill/routing/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"

namespace moehill {
namespace {

int64_t sum_of(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

double mean_of(const std::vector<int64_t>& values) {
  return values.empty() ? 0 : static_cast<double>(sum_of(values)) / static_cast<double>(values.size());
}

std::vector<int64_t> run_lengths(const Routing& routing) {
  std::vector<int64_t> lengths;
  int32_t previous = kNoExpert - 1;
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    // Zero experts have no number among the experts, and are unlike each other.
    const int32_t first = routing.logit_of(static_cast<size_t>(t * routing.topk));
    if (first != previous) lengths.push_back(0);
    ++lengths.back();
    previous = first;
  }
  return lengths;
}

}  // namespace

RunStatistics run_statistics(const Routing& routing) {
  std::vector<int64_t> lengths = run_lengths(routing);
  if (lengths.empty()) return {};
  std::sort(lengths.begin(), lengths.end());
  const size_t rank = (lengths.size() * 95 + 99) / 100;  // ceil(0.95 n), in integers
  return {static_cast<int64_t>(lengths.size()), mean_of(lengths), static_cast<double>(lengths[rank - 1]),
          lengths.back()};
}

std::vector<int64_t> expert_load(const Routing& routing) {
  std::vector<int64_t> load(static_cast<size_t>(routing.num_experts), 0);
  for (const int32_t expert : routing.expert) {
    if (expert != kNoExpert) ++load[static_cast<size_t>(expert)];
  }
  return load;
}

int64_t num_unassigned(const Routing& routing) {
  return std::count(routing.expert.begin(), routing.expert.end(), kNoExpert);
}

int64_t num_zero_choices(const Routing& routing) {
  return std::count_if(routing.zero.begin(), routing.zero.end(), [](int32_t z) { return z >= 0; });
}

LoadStatistics load_statistics(const std::vector<int64_t>& load) {
  if (load.empty()) return {};
  const auto [min, max] = std::minmax_element(load.begin(), load.end());
  const double mean = mean_of(load);
  double squares = 0;
  for (const int64_t n : load) squares += (static_cast<double>(n) - mean) * (static_cast<double>(n) - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(load.size()));
  return {*min, *max, deviation, mean > 0 ? deviation / mean : 0};
}

double max_over_mean(const std::vector<int64_t>& load) {
  const double mean = mean_of(load);
  return mean > 0 ? static_cast<double>(*std::max_element(load.begin(), load.end())) / mean : 0;
}

std::vector<int64_t> device_load(const std::vector<int64_t>& load, int num_devices) {
  MOEHILL_CHECK(num_devices >= 1, "{} devices", num_devices);
  std::vector<int64_t> sums;
  for (int d = 0; d < num_devices; ++d) {
    const Range experts = share(static_cast<int64_t>(load.size()), d, num_devices);
    sums.push_back(std::accumulate(load.begin() + experts.begin, load.begin() + experts.end, int64_t{0}));
  }
  return sums;
}

}  // namespace moehill

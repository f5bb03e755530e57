#include "moehill/cli/yardstick.h"

#include <algorithm>

#include "moehill/bench/statistics.h"
#include "moehill/kernels/peak.h"
#include "moehill/machine/pinning.h"

namespace moehill {

double measure_pinned(ThreadTeam& team, double (*measure)(ThreadTeam&)) {
  const std::vector<int>& cpus = team.cpus();
  const auto pinned = cpus.empty() ? nullptr : std::make_unique<PinScope>(cpus.front());
  return measure(team);
}

Yardstick::Yardstick(std::vector<int> node_cpus, int64_t first)
    : node_cpus_(std::move(node_cpus)), own_first_(node_cpus_) {
  if (first < std::ssize(own_first_))
    std::rotate(own_first_.begin(), own_first_.begin() + first, own_first_.end());
}

ThreadTeam& Yardstick::team(int num_threads) {
  Team& team = teams_[num_threads];
  if (team.threads == nullptr) {
    const bool fits = num_threads <= static_cast<int>(own_first_.size());
    const std::vector<int> cpus(own_first_.begin(), own_first_.begin() + (fits ? num_threads : 0));
    team.threads = std::make_unique<ThreadTeam>(num_threads, cpus);
  }
  return *team.threads;
}

void Yardstick::measure_fma() {
  for (auto& [num_threads, team] : teams_)
    team.flops.push_back(measure_pinned(*team.threads, measure_fma_peak));
  ++num_measurements_;
}

void Yardstick::measure_tile() {
  for (auto& [num_threads, team] : teams_)
    team.tile.push_back(measure_pinned(*team.threads, measure_tile_peak));
}

void Yardstick::measure_bandwidth() {
  for (auto& [num_threads, team] : teams_) {
    team.bandwidth.push_back(measure_pinned(*team.threads, measure_read_bandwidth));
  }
}

double Yardstick::median(int num_threads, std::vector<double> Team::*samples) const {
  const auto found = teams_.find(num_threads);
  return found == teams_.end() || (found->second.*samples).empty() ? 0 : median_of(found->second.*samples);
}

double Yardstick::peak_flops(int num_threads) const {
  const auto found = teams_.find(num_threads);
  if (found == teams_.end() || found->second.flops.empty()) return 0;
  return *std::max_element(found->second.flops.begin(), found->second.flops.end());
}
double Yardstick::typical_peak_flops(int num_threads) const { return median(num_threads, &Team::flops); }
double Yardstick::tile_flops(int num_threads) const { return median(num_threads, &Team::tile); }
double Yardstick::read_bytes_per_s(int num_threads) const { return median(num_threads, &Team::bandwidth); }

int yardstick_threads(const RunConfig& config, const Job& job) {
  const bool one_device = job.session() != nullptr || config.mode == ParallelMode::none;
  return one_device ? config.threads_per_device : config.num_devices * config.threads_per_device;
}

void measure_together(Yardstick& yardstick, const Job& job, void (Yardstick::*measure)()) {
  job.wait_quietly();
  job.start_together();
  (yardstick.*measure)();
  job.wait_quietly();
}

}  // namespace moehill

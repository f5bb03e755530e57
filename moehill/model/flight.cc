// Implementation of model/flight.h: how much work covers rows that travel, and how long the units idle for
// the rest.
#include "moehill/model/flight.h"

#include <algorithm>
#include <cmath>

namespace moehill {

bool rows_fly(const WorkProblem& problem, const ClusterTopology& topology, bool is_chip, int num_devices) {
  return num_devices > 1 && !problem.in_place && (is_chip || num_devices > topology.devices_per_node);
}

bool goes_in_waves(const WorkProblem& problem) {
  return problem.spread == Spread::fused && problem.splits_rows;
}

double experts_of_row(const PlanCounts& counts, int device) {
  const Range experts = own_experts(Spread::fused, counts, device);
  int64_t assignments = 0, rows = 0;
  for (int from = 0; from < counts.num_devices; ++from) {
    if (from == device) continue;
    rows += counts.pair_rows(from, device);
    for (int64_t e = experts.begin; e < experts.end; ++e)
      assignments += counts.local_kept[static_cast<size_t>(int64_t{from} * counts.experts + e)];
  }
  return rows == 0 ? 1 : static_cast<double>(assignments) / static_cast<double>(rows);
}

std::vector<double> shares_of_waves(int num_waves, double experts_of_row) {
  const auto later = [&](int wave) {
    return std::pow(1 - static_cast<double>(wave) / num_waves, experts_of_row);
  };
  std::vector<double> shares;
  for (int w = 0; w < num_waves; ++w) shares.push_back(later(w) - later(w + 1));
  return shares;
}

// Goes through the pass in the order of moe/block_schedules.cc. The link carries all rows before the first
// sums.
FlightWaits waits_of(const WavePass& pass, std::span<const double> shares, double rows_s, double sums_s) {
  const int num_waves = static_cast<int>(shares.size());
  const double part = 1.0 / num_waves;
  FlightWaits waits;
  double now = pass.before, landed = 0, link_free = rows_s;
  // While the rows of a wave have not landed, the units compute products of the device's own tokens' rows.
  int num_ahead = 0;  // waves whose own rows went through the first product
  for (int w = 0; w < num_waves; ++w) {
    landed += shares[static_cast<size_t>(w)] * rows_s;
    while (num_ahead < num_waves && now < landed) {
      now += part * pass.first_own;
      ++num_ahead;
    }
    waits.rows += std::max(0.0, landed - now);
    now = std::max(now, landed);
    const bool own_too = !pass.keeps_last_own || w + 1 < num_waves;
    if (own_too && w >= num_ahead) {
      now += part * pass.first_own;
      num_ahead = w + 1;
    }
    now += part * (pass.first_rest + pass.second_rest + (own_too ? pass.second_own : 0));
    link_free = std::max(link_free, now) + shares[static_cast<size_t>(num_waves - 1 - w)] * sums_s;
  }
  if (num_ahead < num_waves) now += part * pass.first_own;
  now += pass.after + (pass.keeps_last_own ? part * pass.second_own : 0);
  waits.sums = std::max(0.0, link_free - now);
  return waits;
}

// The stages repeat the order in parallel/sharded_path.cc. This code cannot call that one, because model/ may
// not include parallel/.
std::vector<Meanwhile> work_meanwhile(const WorkProblem& problem, Stage stage) {
  if (!is_ep(problem.spread) || is_psum(problem.spread)) return {};
  const bool splits = goes_in_waves(problem);
  std::vector<Meanwhile> work;
  if (stage == Stage::dispatch && splits) work = {{Stage::up, true}};
  if (stage == Stage::dispatch && !splits) work = {{Stage::shared, false}};
  if (stage == Stage::reduce && splits) work = {{Stage::down, true}, {Stage::shared, false}};
  if (stage == Stage::dispatch_grad) work = {{Stage::shared_grad, false}};
  if (stage == Stage::dispatch_grad && splits) work.push_back({Stage::down_grad, true});
  if (stage == Stage::reduce_grad && !problem.recompute)
    work = {{Stage::w2_grad, false}, {Stage::w13_grad, false}};
  if (problem.latent > 0)
    std::erase_if(work, [](const Meanwhile& part) {
      return part.stage == Stage::shared || part.stage == Stage::shared_grad;
    });
  return work;
}

}  // namespace moehill

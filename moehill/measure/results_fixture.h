// This header makes a command with made-up results, for tests of code that works on results.
//
//     const CommandResult command = made_up_command();   // none at 0.1 s, compact_psum at 0.2 s
#pragma once

#include "moehill/measure/results.h"

namespace moehill {

inline PointResult made_up_result(Spread spread, double median) {
  PointResult r;
  r.point.config.shape = {1000, 100, 50, 10, 2, 30, DType::bf16};
  r.point.config.spread = spread;
  r.point.config.num_devices = is_ep(spread) ? 2 : 1;
  r.point.config.threads_per_device = is_ep(spread) ? 1 : 2;
  r.point.label = name_of(mode_of(spread));
  r.timed_region = {"plan", "up", "down"};
  r.samples = {0.98 * median, median, 1.01 * median, median, 0.99 * median};
  r.cpu_seconds = {0.95 * median, 0.85 * median};
  std::vector<double> stages(kNumStages);
  stages[static_cast<int>(Stage::up)] = 0.6 * median;
  stages[static_cast<int>(Stage::w2_grad)] = 0.3 * median;
  std::vector<double> hand_overs(kNumStages);
  hand_overs[static_cast<int>(Stage::up)] = 1;
  hand_overs[static_cast<int>(Stage::w2_grad)] = 2;
  r.stage_samples.assign(5,
                         std::vector<DeviceSeconds>(r.point.config.num_devices, {stages, 0.01, hand_overs}));
  r.executed_flops = 1e9;
  r.traffic.assign(r.point.config.num_devices, {70, 80});
  r.moved_bytes = {60, 50, 20, 10};
  r.lower_bound_bytes = 60;
  r.check.status = CheckStatus::passed;
  r.check.forward_rel_err = 1e-3;
  r.check.grad_rel_err = {{"dw1", 2e-3}, {"dx", 1e-3}};
  r.check.worst_row = "dw1 expert 3 row 17: 2.0e-03";
  r.plan_hash = is_ep(spread) ? 7 : 5;
  r.peaks = {{"fma", 1e11, 9e10}, {"dot", 2e11, 1.8e11}, {2e10, 1.9e10, 2.2e10}};
  return r;
}

inline CommandResult made_up_command() {
  CommandResult command;
  command.time_utc = "2026-02-09T13:40:00Z";
  command.stop_reason = "iters";
  command.points = {made_up_result(Spread::none, 0.1), made_up_result(Spread::compact_psum, 0.2)};
  return command;
}

}  // namespace moehill

// Bounds of stages.
#include "moehill/model/roofline.h"

#include <algorithm>

namespace moehill {
namespace {

double to_double(int64_t n) { return static_cast<double>(n); }

// The stage's times at the hardware's peaks on one device. Links: bytes over the bandwidth of the level that
// joins the devices, without latency.
StageBound bound_of(const WorkProblem& p, const Hardware& h, const StageWork& work, int units,
                    int num_devices) {
  StageBound b;
  b.stage = work.stage;
  b.flops = work.flops;
  b.memory_bytes = work.memory_bytes();
  b.link_bytes = to_double(std::max(work.sent_bytes(), work.received_bytes()));
  b.compute_s = b.flops / (h.peak(p.dtype) * units);
  const int busy = units * std::min(num_devices, h.topology.devices_per_node);
  b.memory_s = b.memory_bytes / (memory_rate(h, busy) * units);
  const bool far = num_devices > h.topology.devices_per_node && h.topology.levels.size() > 1;
  b.link_s = b.link_bytes / h.topology.levels[far ? 1 : 0].bytes_per_s;
  b.overhead_s = h.stage_s * to_double(std::max<int64_t>(1, static_cast<int64_t>(work.gemms.size())));
  return b;
}

double largest(const StageBound& b) { return std::max({b.compute_s, b.memory_s, b.link_s, b.overhead_s}); }

Bound binding(const StageBound& b) {
  // Where most of the bound is one device's surplus over the mean, balance is what would help.
  if (b.imbalance_s > 0.5 * b.bound_s) return Bound::imbalance;
  const std::pair<double, Bound> times[] = {{b.compute_s, Bound::compute},
                                            {b.memory_s, Bound::memory},
                                            {b.link_s, Bound::link},
                                            {b.overhead_s, Bound::overhead}};
  return std::max_element(std::begin(times), std::end(times),
                          [](const auto& x, const auto& y) { return x.first < y.first; })
      ->second;
}

void add_to(StageBound& total, const StageBound& stage) {
  total.flops += stage.flops;
  total.memory_bytes += stage.memory_bytes;
  total.link_bytes += stage.link_bytes;
  total.compute_s += stage.compute_s;
  total.memory_s += stage.memory_s;
  total.link_s += stage.link_s;
  total.overhead_s += stage.overhead_s;
  total.imbalance_s += stage.imbalance_s;
  total.bound_s += stage.bound_s;
}

}  // namespace

Roofline roofline(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units,
                  const std::vector<StageMeasurement>& measured, double step_s) {
  const std::vector<DeviceWork> devices = all_work(problem, counts);
  Roofline result;
  for (const DeviceWork& device : devices)
    result.sent_bytes = std::max(result.sent_bytes, to_double(device.sent_bytes()));
  for (size_t i = 0; i < devices.front().stages.size(); ++i) {
    StageBound slowest;
    double mean = 0;
    for (const DeviceWork& device : devices) {
      const StageBound b = bound_of(problem, hardware, device.stages[i], units, counts.num_devices);
      mean += largest(b) / to_double(counts.num_devices);
      if (slowest.stage.empty() || largest(b) > largest(slowest)) slowest = b;
    }
    slowest.bound_s = largest(slowest);
    slowest.imbalance_s = slowest.bound_s - mean;
    slowest.bound = binding(slowest);
    for (const StageMeasurement& m : measured) {
      if (m.stage == slowest.stage) slowest.measured_s = m.seconds;
    }
    if (slowest.link_bytes > 0) result.communication_s += slowest.measured_s;
    add_to(result.total, slowest);
    result.stages.push_back(slowest);
  }
  result.total.stage = "step";
  result.total.measured_s = step_s;
  result.total.bound = binding(result.total);
  return result;
}

LogbookCommunication logbook_communication(int64_t tokens, int64_t hidden, DType dtype, int num_devices,
                                           bool backward) {
  LogbookCommunication c;
  c.tensor_bytes =
      to_double(tokens) * to_double(hidden) * to_double(static_cast<int64_t>(dtype_bytes(dtype)));
  c.all_reduce_bytes = 2.0 * (num_devices - 1) / num_devices * c.tensor_bytes;
  c.step_bytes = c.all_reduce_bytes * (backward ? 2 : 1);
  return c;
}

}  // namespace moehill

// Implementation of model/roofline.h: the bounds of stages, which no implementation can undercut on this
// hardware.
#include "moehill/model/roofline.h"

#include <algorithm>

#include "moehill/model/flight.h"

namespace moehill {
namespace {

// Returns the seconds on the links without any latency, for the sent or the received bytes, whichever take
// longer. Rows that are read in place take no time. With `in_flight` only rows in flight count.
double link_seconds_at_rate(const Hardware& h, const StageWork& work, int num_devices, bool in_flight) {
  double sent_s = 0, received_s = 0;
  for (const LinkWork& link : work.links) {
    if (link.in_place || (in_flight && !link.in_flight)) continue;
    const double rate = rate_of(h, link, num_devices);
    const LinkBytes bytes = bytes_of(h, link, num_devices);
    sent_s += bytes.sent / rate;
    received_s += bytes.received / rate;
  }
  return std::max(sent_s, received_s);
}

double network_bytes_of(const Hardware& h, const DeviceWork& device, int num_devices) {
  double bytes = 0;
  for (const StageWork& work : device.stages) {
    for (const LinkWork& link : work.links) bytes += network_sent_bytes(h, link, num_devices);
  }
  return bytes;
}

// Returns the times of a stage on one device at the hardware's peaks.
StageBound bound_of(const WorkProblem& p, const Hardware& h, const StageWork& work, int units,
                    int num_devices) {
  StageBound b;
  b.stage = name_of(work.stage);
  b.flops = work.flops;
  b.memory_bytes = work.memory_bytes();
  b.link_bytes = to_double(std::max(work.sent_bytes(), work.received_bytes()));
  b.compute_s = b.flops / (h.peak(p.dtype) * units);
  const int busy = units * std::min(num_devices, h.topology.devices_per_node);
  b.memory_s = b.memory_bytes / (memory_rate(h, busy) * units);
  b.link_s = num_devices > 1 ? link_seconds_at_rate(h, work, num_devices, false) : 0;
  b.overhead_s = h.stage_s * to_double(std::max<int64_t>(1, static_cast<int64_t>(work.gemms.size())));
  return b;
}

double largest(const StageBound& b) { return std::max({b.compute_s, b.memory_s, b.link_s, b.overhead_s}); }

Bound binding(const StageBound& b) {
  // If the surplus of one device over the mean is most of the bound, balance would help most.
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
  total.bound_s += stage.bound_s;
}

// Returns the bound of the step on one device. Work may hide rows in flight completely, but all bytes must
// still pass the links.
StageBound step_of(const WorkProblem& p, const Hardware& h, const DeviceWork& device, int units,
                   int num_devices) {
  const bool fly = rows_fly(p, h.topology, h.is_chip(), num_devices);
  StageBound step;
  step.stage = "step";
  for (const StageWork& work : device.stages) {
    StageBound stage = bound_of(p, h, work, units, num_devices);
    const double link_s = stage.link_s;
    if (fly) stage.link_s -= link_seconds_at_rate(h, work, num_devices, true);
    stage.bound_s = largest(stage);
    stage.link_s = link_s;
    add_to(step, stage);
  }
  step.bound_s = std::max(step.bound_s, step.link_s);
  return step;
}

}  // namespace

Roofline roofline(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units,
                  const std::vector<StageMeasurement>& measured, double step_s) {
  const std::vector<DeviceWork> devices = all_work(problem, counts);
  Roofline result;
  for (const DeviceWork& device : devices) {
    result.sent_bytes = std::max(result.sent_bytes, to_double(device.sent_bytes()));
    result.network_bytes =
        std::max(result.network_bytes, network_bytes_of(hardware, device, counts.num_devices));
  }
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
    result.stages.push_back(slowest);
  }
  double mean = 0;
  for (const DeviceWork& device : devices) {
    const StageBound step = step_of(problem, hardware, device, units, counts.num_devices);
    mean += step.bound_s / to_double(counts.num_devices);
    if (result.total.stage.empty() || step.bound_s > result.total.bound_s) result.total = step;
  }
  result.total.imbalance_s = result.total.bound_s - mean;
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

// Implementation of model/shared_cores.h.
#include "moehill/model/shared_cores.h"

#include <cstdint>

namespace moehill {

Hardware with_shared_cores(Hardware h, int num_devices, int units_per_device) {
  const int64_t cores = int64_t{h.topology.devices_per_node} * h.units_per_device,
                wanted = int64_t{num_devices} * units_per_device;
  h.units_per_device = units_per_device;
  if (h.is_chip() || h.topology.has_network() || wanted <= cores) return h;
  // Devices that share cores get a part of every rate.
  const double part = static_cast<double>(cores) / static_cast<double>(wanted);
  for (double* rate : {&h.peak_f32, &h.peak_bf16, &h.memory_bytes_per_s, &h.rows.gather, &h.rows.combine,
                       &h.rows.swiglu, &h.rows.zero, &h.topology.levels.front().bytes_per_s})
    *rate *= part;
  for (double* cost : {&h.plan_s_per_assignment, &h.barrier_s, &h.stage_s}) *cost /= part;
  h.topology.devices_per_node = num_devices;
  return h;
}

}  // namespace moehill

// This header measures the links of a machine: collectives among devices of one thread each, in this process
// and, under a launcher, among the processes of the job. The result is curves and levels of a Hardware;
// predictions use them.
//
//     measure_thread_links(topology, 1 << 20, watch, hardware);
//     use_thread_links(topology.num_cores, hardware);           // hardware.topology
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/collectives/mesh_measurement.h"
#include "moehill/machine/topology.h"
#include "moehill/mesh/job.h"
#include "moehill/model/hardware.h"
#include "moehill/quiet/core_watch.h"

namespace moehill {

// Measures the collectives that the model asks for on the threads mesh, for 2, 4, ... devices up to all
// cores, and the barrier of all cores. If it is called more than once, with time between the calls, it keeps
// the smaller of the medians.
void measure_thread_links(const Topology& topology, int64_t max_bytes, CoreWatch& watch, Hardware& h);
// Fills h.topology from these curves: the devices of one node.
void use_thread_links(int num_cores, Hardware& h);

// JobLinks are collectives among the processes of a job, one device each.
struct JobLinks {
  int num_processes = 1, num_nodes = 1;
  std::vector<CollectiveCurve> collectives;

  // Devices of the largest node if the processes are spread evenly.
  int devices_per_node() const { return (num_processes + num_nodes - 1) / num_nodes; }
  // Returns the level between nodes, computed from all_to_all. The latency is the time of its smallest size.
  // The bandwidth is the bytes that leave a node over the time that the largest size takes longer.
  LinkLevel network() const;
};

// Collective over the processes; empty without a job.
JobLinks measure_job_links(const Job& job, const Topology& topology);
// Replaces the threads' curves of the same number of devices. With several nodes, h becomes a cluster of
// them, and the threads' curves of more devices than a node has are dropped.
void use_job_links(const JobLinks& links, Hardware& h);

}  // namespace moehill

// Links as the probe measures them: collectives among devices of one thread each, in this process and, under
// a launcher, among the processes of the job.
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

// Every collective and the barrier on the threads mesh, for 2, 4, ... devices up to all cores. Called more
// than once, so that its calls lie apart in time: of the medians it keeps the smaller.
void measure_thread_links(const Topology& topology, int64_t max_bytes, CoreWatch& watch, Hardware& h);
// Fills h.topology from them: the devices of one node.
void use_thread_links(int num_cores, Hardware& h);

// Collectives among the processes of a job, one device each.
struct JobLinks {
  int num_processes = 1, num_nodes = 1;
  std::vector<CollectiveCurve> collectives;

  // The largest node's.
  int devices_per_node() const { return (num_processes + num_nodes - 1) / num_nodes; }
  // The level between nodes, from all_to_all: latency of its smallest size, and what leaves a node over the
  // time that its largest takes longer.
  LinkLevel network() const;
};

// Collective over the processes; empty without a job.
JobLinks measure_job_links(const Job& job, const Topology& topology);
// Puts them in the place of the threads' for as many devices; with several nodes h becomes a cluster of such.
void use_job_links(const JobLinks& links, Hardware& h);

}  // namespace moehill

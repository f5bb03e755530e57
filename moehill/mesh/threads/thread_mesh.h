// ThreadMesh is the threads mesh: P devices in this process, each a team of N threads. Collectives read and
// write the memory of the process.
//
//   ThreadMesh mesh(2, 4, detect_topology().core_cpus);   // 2 devices with 4 threads each, on 8 cores
//   mesh.run([](Group& group) { group.barrier(); });
#pragma once

#include <memory>
#include <vector>

#include "moehill/mesh/mesh.h"

namespace moehill {

// ThreadMesh owns its threads and groups.
class ThreadMesh final : public Mesh {
 public:
  // cpus: one logical CPU for each thread, device by device (machine/topology.h); empty: threads are not
  // pinned. nodes: the devices behave as if they were on these nodes; only Group::on_node() and the bytes
  // that count as network traffic depend on it.
  ThreadMesh(int num_devices, int threads_per_device, std::vector<int> cpus = {}, const Nodes& nodes = {});
  ~ThreadMesh() override;

  int num_devices() const override;
  int threads_per_device() const override;
  Range local_devices() const override { return {0, num_devices()}; }
  std::vector<int> local_cpus() const override;
  ThreadTeam& team(int device) override;

  // The calling thread leads device 0. An exception on one device makes the collectives of the others throw
  // too, so that no device waits for ever; the first exception is thrown again here, and the mesh can be used
  // again. Allocates nothing.
  void run(const std::function<void(Group&)>& device_main) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moehill

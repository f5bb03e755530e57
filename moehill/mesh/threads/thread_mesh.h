// The threads mesh: P devices in this process, each a team of N pinned threads; collectives over shared
// memory.
#pragma once

#include <memory>
#include <vector>

#include "moehill/mesh/mesh.h"

namespace moehill {

class ThreadMesh final : public Mesh {
 public:
  // cpus: one logical CPU per thread, device by device (machine/topology.h); empty leaves the threads
  // unpinned. nodes: as if the devices were on these; nothing but Group::on_node() and the bytes that count
  // as the network's follow from it.
  ThreadMesh(int num_devices, int threads_per_device, std::vector<int> cpus = {}, const Nodes& nodes = {});
  ~ThreadMesh() override;

  int num_devices() const override;
  int threads_per_device() const override;
  Range local_devices() const override { return {0, num_devices()}; }
  std::vector<int> local_cpus() const override;
  ThreadTeam& team(int device) override;

  // The calling thread leads device 0. An exception on one device makes the collectives of the others throw
  // too, so that nobody is left waiting; the first one is rethrown here and the mesh is usable again.
  // Allocates nothing.
  void run(const std::function<void(Group&)>& device_main) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moehill

// The threads mesh: P devices in this process, each a team of N pinned threads; collectives over shared
// memory.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "moehill/mesh/group.h"

namespace moehill {

class ThreadMesh {
 public:
  // cpus: one logical CPU per thread, device by device (machine/topology.h); empty leaves the threads
  // unpinned.
  ThreadMesh(int num_devices, int threads_per_device, std::vector<int> cpus = {});
  ~ThreadMesh();

  int num_devices() const;
  int threads_per_device() const;
  ThreadTeam& team(int device);

  // Calls device_main(group) on every device at once (SPMD); the calling thread leads device 0. Returns when
  // all are done. An exception on one device makes the collectives of the others throw too, so that nobody is
  // left waiting; the first one is rethrown here and the mesh is usable again. Allocates nothing.
  void run(const std::function<void(Group&)>& device_main);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moehill

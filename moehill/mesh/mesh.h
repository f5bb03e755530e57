// Mesh has the devices of a run, or at least the devices of this process, with their teams of threads. It
// knows nothing of experts and tokens. A backend is a folder beside this file: threads/ has all devices in
// this process, mpi/ has one device in each process.
//
//   ThreadMesh mesh(2, 4, cpus);                              // 2 devices with 4 threads each
//   mesh.run([](Group& group) { program_of_device(group); });
#pragma once

#include <functional>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/mesh/group.h"

namespace moehill {

// Mesh is the interface of the backends.
class Mesh {
 public:
  virtual ~Mesh() = default;
  virtual int num_devices() const = 0;
  virtual int threads_per_device() const = 0;
  // Returns the ranks of the devices in this process: all of them on the threads mesh, one on MPI.
  virtual Range local_devices() const = 0;
  // Returns the logical CPUs of these devices' threads, device by device; empty if threads are not pinned.
  virtual std::vector<int> local_cpus() const = 0;

  // Returns the team of a device of this process, for work that needs no peer. The calling thread leads it.
  // Do not use it while run() is active.
  virtual ThreadTeam& team(int device) = 0;

  // Calls device_main(group) on every device of this process at the same time (SPMD); the calling thread
  // leads the first of them. Returns when all devices of this process are done. If some fail, the first
  // failure is thrown again.
  virtual void run(const std::function<void(Group&)>& device_main) = 0;
};

}  // namespace moehill

// Mesh: the devices of a run, those of this process at least. A backend is a folder beside this file.
#pragma once

#include <functional>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/mesh/group.h"

namespace moehill {

class Mesh {
 public:
  virtual ~Mesh() = default;
  virtual int num_devices() const = 0;
  virtual int threads_per_device() const = 0;
  // Ranks of the devices that live in this process: all of them on the threads mesh, one on MPI.
  virtual Range local_devices() const = 0;
  // Logical CPUs of their threads, device by device; empty where they are not pinned.
  virtual std::vector<int> local_cpus() const = 0;

  // The team of a device of this process, for work that needs no peer. The caller leads it, while no run() is
  // on.
  virtual ThreadTeam& team(int device) = 0;

  // Calls device_main(group) on every device of this process at once (SPMD); the calling thread leads the
  // first of them. Returns when all of this process's devices are done; rethrows the first failure.
  virtual void run(const std::function<void(Group&)>& device_main) = 0;
};

}  // namespace moehill

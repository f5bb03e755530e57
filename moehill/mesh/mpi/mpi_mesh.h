// MpiMesh is the MPI mesh, with one device in each process. Collectives use shared memory within a node and
// messages between nodes. MpiSession makes it, or make_mesh_of() for a program that has started MPI itself.
#pragma once

#include <memory>

#include "moehill/mesh/mesh.h"
#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/mpi_group.h"
#include "moehill/mesh/session.h"

namespace moehill {

// Returns the lists of all processes of a node, by rank in the node. Collective over them.
std::vector<std::vector<int>> gather_lists(MPI_Comm node, const std::vector<int>& own);

// MpiMesh owns the team of threads and the group of this process's device.
class MpiMesh final : public Mesh {
 public:
  // Collective over `comm`, as is the destructor. The mesh must be destroyed before MPI is finalized.
  MpiMesh(MPI_Comm comm, const MpiMeshOptions& options);

  int num_devices() const override { return group_->size(); }
  int threads_per_device() const override { return team_->size(); }
  Range local_devices() const override { return {group_->rank(), group_->rank() + 1}; }
  std::vector<int> local_cpus() const override { return team_->cpus(); }
  ThreadTeam& team(int) override { return *team_; }

  // The calling thread leads the device of this process. After an exception, other ranks may wait for this
  // one for ever: end the job by Session::fail().
  void run(const std::function<void(Group&)>& device_main) override;

 private:
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<MpiGroup> group_;
};

}  // namespace moehill

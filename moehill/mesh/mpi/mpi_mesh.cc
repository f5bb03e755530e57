#include "moehill/mesh/mpi/mpi_mesh.h"

#include <optional>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

// The share of the `local_rank`-th of num_local processes; none if there are fewer CPUs than threads.
std::vector<int> own_cpus(const MpiMeshOptions& options, int local_rank, int num_local) {
  const int64_t num_threads = options.threads_per_device;
  if (num_local * num_threads > static_cast<int64_t>(options.node_cpus.size())) return {};
  const auto begin = options.node_cpus.begin() + local_rank * num_threads;
  return {begin, begin + num_threads};
}

}  // namespace

MpiMesh::MpiMesh(MPI_Comm comm, const MpiMeshOptions& options) {
  MOEHILL_CHECK(options.threads_per_device >= 1 && options.ranks_per_node >= 0,
                "devices with {} threads, {} ranks a node", options.threads_per_device,
                options.ranks_per_node);
  const Communicator node = Communicator::node_of(comm);
  const int local_rank = node.rank(), num_local = node.size();
  team_ = std::make_unique<ThreadTeam>(options.threads_per_device, own_cpus(options, local_rank, num_local));
  const int ranks_per_node = options.ranks_per_node > 0 ? options.ranks_per_node : num_local;
  const Communicator part = Communicator::part_of(node.get(), local_rank / ranks_per_node);
  group_ = std::make_unique<MpiGroup>(comm, part.get(), *team_, options.piece_bytes);
}

void MpiMesh::run(const std::function<void(Group&)>& device_main) {
  std::optional<PinScope> pin;
  if (!team_->cpus().empty()) pin.emplace(team_->cpus()[0]);
  try {
    device_main(*group_);
    group_->end_program();
  } catch (...) {
    group_->abandon();
    throw;
  }
}

}  // namespace moehill

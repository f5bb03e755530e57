// Implements mpi_mesh.h: shares the CPUs of a node among its processes, and makes the group of this process.
#include "moehill/mesh/mpi/mpi_mesh.h"

#include <numeric>
#include <optional>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"
#include "moehill/mesh/node_cpus.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
std::vector<std::vector<int>> gather_lists(MPI_Comm node, const std::vector<int>& own) {
  int num_local = 0;
  check_mpi("MPI_Comm_size", MPI_Comm_size(node, &num_local));
  const int size = static_cast<int>(own.size());
  std::vector<int> sizes(static_cast<size_t>(num_local)), begins(sizes.size() + 1, 0);
  check_mpi("MPI_Allgather", MPI_Allgather(&size, 1, MPI_INT, sizes.data(), 1, MPI_INT, node));
  std::partial_sum(sizes.begin(), sizes.end(), begins.begin() + 1);
  std::vector<int> all(static_cast<size_t>(begins.back()));
  check_mpi("MPI_Allgatherv", MPI_Allgatherv(own.data(), size, MPI_INT, all.data(), sizes.data(),
                                             begins.data(), MPI_INT, node));
  std::vector<std::vector<int>> lists;
  for (size_t l = 0; l < sizes.size(); ++l)
    lists.emplace_back(all.begin() + begins[l], all.begin() + begins[l + 1]);
  return lists;
}

MpiMesh::MpiMesh(MPI_Comm comm, const MpiMeshOptions& options) {
  MOEHILL_CHECK(options.threads_per_device >= 0 && options.ranks_per_node >= 0,
                "devices with {} threads, {} ranks a node", options.threads_per_device,
                options.ranks_per_node);
  const WatchedCall making("making the mesh");
  const Communicator node = Communicator::node_of(comm);
  const int local_rank = node.rank(), num_local = node.size();
  const std::vector<std::vector<int>> node_cpus = gather_lists(node.get(), options.node_cpus);
  const int num_threads =
      options.threads_per_device > 0 ? options.threads_per_device : fair_threads(node_cpus);
  const std::vector<std::vector<int>> shares = share_cpus(node_cpus, num_threads);
  std::vector<int> cpus;
  if (options.pins_threads && !shares.empty()) cpus = shares[static_cast<size_t>(local_rank)];
  team_ = std::make_unique<ThreadTeam>(num_threads, std::move(cpus));
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

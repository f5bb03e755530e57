#include "moehill/mesh/mpi/mpi_mesh.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/machine/pinning.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

// True if all processes of a node name the same CPUs, which they then share.
bool are_shared(MPI_Comm node, const std::vector<int>& cpus) {
  int64_t sum = 0;
  for (const int cpu : cpus) sum = (sum * 1021 + cpu) % (int64_t{1} << 48);
  int64_t extremes[2] = {sum, -sum};
  check_mpi("MPI_Allreduce", MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT64_T, MPI_MAX, node));
  return extremes[0] == -extremes[1];
}

// The CPUs of the `local_rank`-th of num_local processes of a node, a thread each; `num_threads` 0 becomes
// as many as there are. None if there are fewer CPUs than threads.
std::vector<int> own_cpus(const std::vector<int>& node_cpus, int local_rank, int num_local,
                          int& num_threads) {
  const int num_cpus = static_cast<int>(node_cpus.size());
  if (num_threads == 0) num_threads = std::max(1, num_cpus / num_local);
  if (num_local * num_threads > num_cpus) return {};
  const auto begin = node_cpus.begin() + local_rank * num_threads;
  return {begin, begin + num_threads};
}

}  // namespace

MpiMesh::MpiMesh(MPI_Comm comm, const MpiMeshOptions& options) {
  MOEHILL_CHECK(options.threads_per_device >= 0 && options.ranks_per_node >= 0,
                "devices with {} threads, {} ranks a node", options.threads_per_device,
                options.ranks_per_node);
  const WatchedCall making("making the mesh");
  const Communicator node = Communicator::node_of(comm);
  const int local_rank = node.rank(), num_local = node.size();
  int num_threads = options.threads_per_device;
  const bool shared = are_shared(node.get(), options.node_cpus);
  std::vector<int> cpus =
      own_cpus(options.node_cpus, shared ? local_rank : 0, shared ? num_local : 1, num_threads);
  if (!options.pins_threads) cpus.clear();
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

#include "moehill/mesh/mpi/count_exchange.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>

#include "moehill/mesh/mpi/messages.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

// Digests of calls use the same tag. The two are not mixed up, because both go from leader to leader, and all
// leaders send them in the same order.
constexpr int kTag = kFirstRowsTag + kNumRowsTags;

}  // namespace

NodeLeaders::NodeLeaders(const Communicator& comm, int first) {
  std::vector<int> first_of(static_cast<size_t>(comm.size()));
  check_mpi("MPI_Allgather", MPI_Allgather(&first, 1, MPI_INT, first_of.data(), 1, MPI_INT, comm.get()));
  leaders = first_of;
  std::sort(leaders.begin(), leaders.end());
  leaders.erase(std::unique(leaders.begin(), leaders.end()), leaders.end());
  const auto place = [&](int leader) {
    return static_cast<int>(std::lower_bound(leaders.begin(), leaders.end(), leader) - leaders.begin());
  };
  for (const int leader : first_of) node_of.push_back(place(leader));
  own = place(first);
}

// A leader never holds more numbers than there are pairs of ranks of two nodes, once for each node, and
// reserves memory for that many.
CountExchange::CountExchange(MPI_Comm comm, NodeLeaders nodes, MessageCount& sent)
    : comm_(comm), nodes_(std::move(nodes)), sent_(sent) {
  std::vector<size_t> num_ranks(nodes_.leaders.size(), 0);
  for (const int node : nodes_.node_of) ++num_ranks[static_cast<size_t>(node)];
  const size_t most = *std::max_element(num_ranks.begin(), num_ranks.end());
  held_.reserve(most * most * num_ranks.size());
  going_.reserve(held_.capacity());
}

int CountExchange::leader(int nodes_on) const {
  const int node = (nodes_.own + nodes_on + num_nodes()) % num_nodes();
  return nodes_.leaders[static_cast<size_t>(node)];
}

bool CountExchange::goes_on(const CarriedCount& count, int step) const {
  const int node = nodes_.node_of[static_cast<size_t>(count.to)];
  return (way_of_count(num_nodes(), nodes_.own, node) & step) != 0;
}

// A count moves to its node in steps of 1, 2, 4, ... nodes: in the step of 2^i nodes if the number of nodes
// on its way has that binary digit.
std::span<const CarriedCount> CountExchange::carry() {
  for (int step = 1; step < num_nodes(); step *= 2) {
    const auto rest =
        std::partition(held_.begin(), held_.end(), [&](const CarriedCount& c) { return !goes_on(c, step); });
    going_.assign(rest, held_.end());
    held_.erase(rest, held_.end());
    const int bytes = static_cast<int>(going_.size() * sizeof(CarriedCount));
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi("MPI_Isend", MPI_Isend(going_.data(), bytes, MPI_BYTE, leader(step), kTag, comm_, &request));
    ++sent_.messages;
    sent_.bytes += static_cast<uint64_t>(bytes);
    receive(leader(-step));
    Patience patience("counts");
    for (int is_gone = 0;;) {
      check_mpi("MPI_Test", MPI_Test(&request, &is_gone, MPI_STATUS_IGNORE));
      if (is_gone != 0) break;
      patience.check([&] { return rank_name(leader(step)); });
      (void)sched_yield();
    }
  }
  going_.swap(held_);
  held_.clear();
  return going_;
}

void CountExchange::receive(int from) {
  MPI_Status status;
  Patience patience("counts");
  for (int is_there = 0;;) {
    check_mpi("MPI_Iprobe", MPI_Iprobe(from, kTag, comm_, &is_there, &status));
    if (is_there != 0) break;
    patience.check([&] { return rank_name(from); });
    (void)sched_yield();
  }
  int bytes = 0;
  check_mpi("MPI_Get_count", MPI_Get_count(&status, MPI_BYTE, &bytes));
  const size_t held = held_.size();
  held_.resize(held + static_cast<size_t>(bytes) / sizeof(CarriedCount));
  check_mpi("MPI_Recv", MPI_Recv(held_.data() + held, bytes, MPI_BYTE, from, kTag, comm_, MPI_STATUS_IGNORE));
}

}  // namespace moehill

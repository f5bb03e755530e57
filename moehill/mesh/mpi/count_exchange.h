// CountExchange carries numbers that ranks have for ranks of other nodes. The leaders of the nodes send them
// from node to node in as many steps as the number of nodes has binary digits (mesh/message_counts.h),
// instead of one message for each pair of ranks.
//
//   counts.add({from, to, 12});          // for each pair whose ranks are on this node and on another
//   for (const CarriedCount& c : counts.carry()) use(c);
#pragma once

#include <span>
#include <vector>

#include "moehill/mesh/message_counts.h"
#include "moehill/mesh/mpi/communicator.h"

namespace moehill {

// NodeLeaders are the leaders of all nodes, one rank of each node.
struct NodeLeaders {
  // Asks all ranks for the first rank of their node; `first` is the first rank of this node. Collective.
  NodeLeaders(const Communicator& comm, int first);

  std::vector<int> leaders;  // one rank of each node, in the same order on all ranks
  int own = 0;               // the position of this node's leader
  std::vector<int> node_of;  // [ranks] the position of their node's leader
};

// Only the leader of a node has a CountExchange.
class CountExchange {
 public:
  // sent counts the messages.
  CountExchange(MPI_Comm comm, NodeLeaders nodes, MessageCount& sent);

  // Adds a number of a rank of this node for a rank of another node.
  void add(const CarriedCount& count) {
    if (count.count != 0) held_.push_back(count);
  }
  // Returns the numbers for ranks of this node; valid until the next call. All leaders call it together,
  // after they have agreed on the call, because another leader must expect each message.
  std::span<const CarriedCount> carry();

 private:
  int num_nodes() const { return static_cast<int>(nodes_.leaders.size()); }
  int leader(int nodes_on) const;
  bool goes_on(const CarriedCount& count, int step) const;
  void receive(int from);

  MPI_Comm comm_;
  const NodeLeaders nodes_;
  MessageCount& sent_;
  std::vector<CarriedCount> held_, going_;
};

}  // namespace moehill

// CountExchange: numbers of ranks for ranks of other nodes, carried from node to node in as many steps as the
// number of nodes has binary digits (mesh/message_counts.h).
#pragma once

#include <span>
#include <vector>

#include "moehill/mesh/message_counts.h"
#include "moehill/mesh/mpi/communicator.h"

namespace moehill {

struct NodeLeaders {
  // Asks all ranks for the first rank of their node; `first`: that of this one.
  NodeLeaders(const Communicator& comm, int first);

  std::vector<int> leaders;  // one rank of each node, in one order everywhere
  int own = 0;               // the place of this node's
  std::vector<int> node_of;  // [ranks] place of their node's
};

class CountExchange {
 public:
  // Made by the leader of a node. sent: counts the messages.
  CountExchange(MPI_Comm comm, NodeLeaders nodes, MessageCount& sent);

  // A number of a rank of this node for a rank of another one.
  void add(const CarriedCount& count) {
    if (count.count != 0) held_.push_back(count);
  }
  // Returns the numbers for this node, valid until the next call. All leaders call it, once they have agreed
  // on a call: what one of them sends is expected.
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

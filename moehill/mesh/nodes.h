// Nodes says on which node each rank of a mesh is. Ranks of a node reach each other's memory; between nodes
// there is a network.
//
//   const Nodes nodes = Nodes::of_size(8, 4);   // ranks 0 to 3 and 4 to 7
//   nodes.of(5);                                // 1
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moehill {

// Nodes is a value, the same on all ranks.
class Nodes {
 public:
  Nodes() = default;  // one node for all ranks
  // node_of: [ranks] any numbers, equal for ranks of the same node. Nodes are numbered in the order of their
  // first ranks.
  explicit Nodes(const std::vector<int>& node_of);
  // Returns nodes that have `ranks_per_node` neighbouring ranks each; the last node may have fewer.
  static Nodes of_size(int num_ranks, int ranks_per_node);

  int num() const { return ranks_.empty() ? 1 : static_cast<int>(ranks_.size()); }
  int of(int rank) const { return node_of_.empty() ? 0 : node_of_[idx(rank)]; }
  // Returns the ranks of a node in rising order; empty for Nodes().
  std::span<const int> ranks_of(int node) const { return ranks_[idx(node)]; }
  int most_ranks() const;  // the largest number of ranks on a node; 0 for Nodes()
  // Returns the node of each rank if of_size() does not make such nodes: they have other ranks than
  // neighbours, or not equally many on all but the last. Otherwise it is empty.
  std::vector<int> irregular() const;
  // Returns the position of a rank among the ranks of its node.
  int place(int rank) const { return place_[idx(rank)]; }
  // Returns the landing rank: the rank of `node` to which rank `from` sends data for the whole node. It is
  // the rank in the same position (modulo the number of ranks), so that each link of a node has its share. On
  // its own node it is `from` itself.
  int landing_rank(int from, int node) const {
    return ranks_[idx(node)][idx(place(from)) % ranks_[idx(node)].size()];
  }
  // Returns how many elements of an array are for ranks on other nodes than `rank`. The array has one slice
  // for each rank.
  int64_t elsewhere(std::span<const int64_t> offsets, int rank) const;

 private:
  static size_t idx(int i) { return static_cast<size_t>(i); }
  std::vector<int> node_of_, place_;     // [ranks]
  std::vector<std::vector<int>> ranks_;  // [nodes]
};

}  // namespace moehill

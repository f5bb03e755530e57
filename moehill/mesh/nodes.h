// Nodes: which node each rank of a mesh is on. Ranks of a node reach each other's memory; between nodes there
// is a network.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace moehill {

class Nodes {
 public:
  Nodes() = default;  // one, whatever the ranks
  // node_of: [ranks]; any numbers, equal for ranks of one node. Nodes get numbers in the order of their first
  // ranks.
  explicit Nodes(const std::vector<int>& node_of);
  // Neighbouring ranks, so many to a node; the last one may have fewer.
  static Nodes of_size(int num_ranks, int ranks_per_node);

  int num() const { return ranks_.empty() ? 1 : static_cast<int>(ranks_.size()); }
  int of(int rank) const { return node_of_.empty() ? 0 : node_of_[idx(rank)]; }
  // The ranks of a node, rising. Empty for Nodes().
  std::span<const int> ranks_of(int node) const { return ranks_[idx(node)]; }
  std::vector<int> first_ranks() const;  // [nodes]
  int most_ranks() const;                // of a node; 0 for Nodes()
  // The place of a rank among those of its node.
  int place(int rank) const { return place_[idx(rank)]; }
  // Where in `node` things go that rank `from` sends there once for all of its ranks: to the rank in the same
  // place, modulo the ranks, so that each link of a node has its share. To itself in its own node.
  int landing_rank(int from, int node) const {
    return ranks_[idx(node)][idx(place(from)) % ranks_[idx(node)].size()];
  }
  // Returns the elements of other nodes' ranks than `rank`'s, of what has one slice a rank.
  int64_t elsewhere(std::span<const int64_t> offsets, int rank) const;

 private:
  static size_t idx(int i) { return static_cast<size_t>(i); }
  std::vector<int> node_of_, place_;     // [ranks]
  std::vector<std::vector<int>> ranks_;  // [nodes]
};

}  // namespace moehill

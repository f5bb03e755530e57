#include "moehill/mesh/nodes.h"

#include <algorithm>

namespace moehill {

Nodes::Nodes(const std::vector<int>& node_of) {
  std::vector<int> first;  // [nodes] the number by which the caller calls the node
  for (size_t r = 0; r < node_of.size(); ++r) {
    const auto found = std::find(first.begin(), first.end(), node_of[r]);
    node_of_.push_back(static_cast<int>(found - first.begin()));
    if (found == first.end()) {
      first.push_back(node_of[r]);
      ranks_.emplace_back();
    }
    std::vector<int>& ranks = ranks_[idx(node_of_.back())];
    place_.push_back(static_cast<int>(ranks.size()));
    ranks.push_back(static_cast<int>(r));
  }
}

Nodes Nodes::of_size(int num_ranks, int ranks_per_node) {
  std::vector<int> node_of;
  for (int r = 0; r < num_ranks; ++r) node_of.push_back(ranks_per_node > 0 ? r / ranks_per_node : 0);
  return Nodes(node_of);
}

int Nodes::most_ranks() const {
  size_t most = 0;
  for (const std::vector<int>& ranks : ranks_) most = std::max(most, ranks.size());
  return static_cast<int>(most);
}

std::vector<int> Nodes::irregular() const {
  const Nodes regular = of_size(static_cast<int>(node_of_.size()), most_ranks());
  return regular.node_of_ == node_of_ ? std::vector<int>() : node_of_;
}

int64_t Nodes::elsewhere(std::span<const int64_t> offsets, int rank) const {
  int64_t elements = 0;
  for (int r = 0; num() > 1 && r + 1 < static_cast<int>(offsets.size()); ++r) {
    if (of(r) != of(rank)) elements += offsets[idx(r) + 1] - offsets[idx(r)];
  }
  return elements;
}

}  // namespace moehill

// This header counts the messages between nodes that a collective of the MPI mesh takes, and their bytes, so
// that the cost for thousands of ranks is known without having them. Tests compare these formulas with real
// messages (mpi/mpi_conformance_test.cc), with simulated ones, and with the table of docs/clusters.md.
//
//   agreement_messages(64).messages;   // of all 64 nodes together
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "moehill/mesh/collective.h"
#include "moehill/mesh/message_counts.h"

namespace moehill {

// Returns the messages of all nodes together: about one for each node and each binary digit of the number of
// nodes.
inline MessageCount agreement_messages(int num_nodes) {
  const unsigned nodes = static_cast<unsigned>(num_nodes), num_doubling = std::bit_floor(nodes);
  const int64_t messages = static_cast<int64_t>(num_doubling) * (std::bit_width(num_doubling) - 1) +
                           2 * static_cast<int64_t>(nodes - num_doubling);
  return {messages, static_cast<uint64_t>(messages) * kAgreementBytes};
}

// RanksOfNodes has num_ranks ranks on nodes of `ranks_per_node`; the last node may have fewer.
struct RanksOfNodes {
  int num_ranks = 1, ranks_per_node = 1;

  int num_nodes() const { return (num_ranks + ranks_per_node - 1) / ranks_per_node; }
  int on_node(int node) const { return std::min(ranks_per_node, num_ranks - node * ranks_per_node); }
  // Returns the number of ordered pairs of ranks on different nodes.
  int64_t pairs_across() const {
    int64_t pairs = static_cast<int64_t>(num_ranks) * num_ranks;
    for (int node = 0; node < num_nodes(); ++node) pairs -= int64_t{on_node(node)} * on_node(node);
    return pairs;
  }
};

// Returns the number of steps in which counts travel. Every node sends one message in each step; the message
// is empty if no count moves.
inline int num_count_steps(int num_nodes) { return std::bit_width(static_cast<unsigned>(num_nodes - 1)); }

// Returns the messages of all nodes together if every rank has a number for each rank on other nodes. Numbers
// that are 0 do not travel.
inline MessageCount count_messages(const RanksOfNodes& ranks) {
  const int nodes = ranks.num_nodes();
  int64_t hops = 0;
  for (int from = 0; from < nodes; ++from) {
    for (int to = 0; to < nodes; ++to) {
      const int digits = std::popcount(static_cast<unsigned>(way_of_count(nodes, from, to)));
      hops += int64_t{ranks.on_node(from)} * ranks.on_node(to) * digits;
    }
  }
  return {int64_t{nodes} * num_count_steps(nodes), static_cast<uint64_t>(hops) * sizeof(CarriedCount)};
}

// Returns the messages with rows between nodes, of all ranks together, if every rank has `bytes` for each
// other rank: its own rows (all_gather), a slice (all_to_all, reduce_scatter), or a slice each way
// (all_reduce). Messages longer than piece_bytes are sent in pieces.
inline MessageCount row_messages(Collective collective, const RanksOfNodes& ranks, uint64_t bytes,
                                 size_t piece_bytes) {
  const int64_t ways = collective == Collective::all_reduce ? 2 : 1;
  const int64_t pieces = static_cast<int64_t>((bytes + piece_bytes - 1) / piece_bytes);
  const int64_t messages = ways * ranks.pairs_across();
  return {messages * pieces, static_cast<uint64_t>(messages) * bytes};
}

}  // namespace moehill

// Messages that a collective of the MPI mesh takes between nodes, and the bytes in them: formulas, and the
// order of the messages by which nodes agree that they are at the same call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "moehill/mesh/collective.h"

namespace moehill {

// Messages that were sent, and the bytes in them.
struct MessageCount {
  int64_t messages = 0;
  uint64_t bytes = 0;
  bool operator==(const MessageCount&) const = default;
};

inline constexpr size_t kAgreementBytes = 24;  // of a message of agreement

// One node's part of the agreement: first all that it is told, one message after the other, each after what
// it sends itself. kNobody: nothing goes that way in this step.
struct AgreementStep {
  static constexpr int kNobody = -1;
  int send_to = kNobody, receive_from = kNobody;
};

// Nodes past the largest power of two have one before them speak for them; the others double what they know
// in every step: a node and the one whose number differs in one binary digit tell each other.
std::vector<AgreementStep> agreement_steps(int num_nodes, int node);

// Returns the messages of all nodes together: about one a node for each binary digit of their number.
MessageCount agreement_messages(int num_nodes);

// Ranks in nodes of `ranks_per_node`, the last one perhaps smaller.
struct RanksOfNodes {
  int num_ranks = 1, ranks_per_node = 1;
  int num_nodes() const { return (num_ranks + ranks_per_node - 1) / ranks_per_node; }
  int on_node(int node) const { return std::min(ranks_per_node, num_ranks - node * ranks_per_node); }
  int64_t pairs_across() const;  // ordered pairs of ranks of different nodes
};

// A number that a rank has for another one, as it travels between nodes.
struct CarriedCount {
  int32_t from = 0, to = 0;
  int64_t count = 0;
};

// A number goes on by 1, 2, 4, ... nodes, where its way to its node has that binary digit: every node sends
// one message in each step, those without a number are empty.
int num_count_steps(int num_nodes);
// Nodes from one on to another one, in their circle.
inline int way_of_count(int num_nodes, int from, int to) { return (to - from + num_nodes) % num_nodes; }
// Returns the messages of all nodes together where every rank has a number for each rank of other nodes.
// Numbers that are 0 do not travel.
MessageCount count_messages(const RanksOfNodes& ranks);

// Rows between nodes, of all ranks together, where every rank has `bytes` for each other one: its own rows
// (all_gather), a slice (all_to_all, reduce_scatter), a slice each way (all_reduce). Longer messages go in
// pieces.
MessageCount row_messages(Collective collective, const RanksOfNodes& ranks, uint64_t bytes,
                          size_t piece_bytes);

// The table of docs/clusters.md, in Markdown: 8 to 4096 ranks, 8 a node, 1 KiB for each other rank.
std::string message_table();

}  // namespace moehill

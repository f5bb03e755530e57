// This header counts the messages between nodes that a collective of the MPI mesh takes, and their bytes. So
// the cost for thousands of ranks is known without having them. It also has the order of the messages by
// which nodes agree that they are at the same call. It sends nothing itself.
//
//   agreement_messages(64).messages;   // of all 64 nodes together
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "moehill/mesh/collective.h"

namespace moehill {

// MessageCount is a number of messages, and the bytes in them.
struct MessageCount {
  int64_t messages = 0;
  uint64_t bytes = 0;
  bool operator==(const MessageCount&) const = default;
};

inline constexpr size_t kAgreementBytes = 24;  // bytes of a message of agreement

// AgreementStep is one step of one node in the agreement. The node sends first and then receives. kNobody: it
// does not send (or receive) in this step.
struct AgreementStep {
  static constexpr int kNobody = -1;
  int send_to = kNobody, receive_from = kNobody;
};

// Returns the steps of one node. Nodes with numbers past the largest power of two let an earlier node speak
// for them. In each step a node of the others exchanges its digest with the node whose number differs in one
// binary digit, a different digit in each step, so that a digest covers twice as many nodes after each step.
std::vector<AgreementStep> agreement_steps(int num_nodes, int node);

// Returns the messages of all nodes together: about one for each node and each binary digit of the number of
// nodes.
MessageCount agreement_messages(int num_nodes);

// RanksOfNodes has num_ranks ranks on nodes of `ranks_per_node`; the last node may have fewer.
struct RanksOfNodes {
  int num_ranks = 1, ranks_per_node = 1;
  int num_nodes() const { return (num_ranks + ranks_per_node - 1) / ranks_per_node; }
  int on_node(int node) const { return std::min(ranks_per_node, num_ranks - node * ranks_per_node); }
  int64_t pairs_across() const;  // ordered pairs of ranks on different nodes
};

// CarriedCount is a number that one rank has for another, as it travels between nodes.
struct CarriedCount {
  int32_t from = 0, to = 0;
  int64_t count = 0;
};

// Returns the number of steps in which counts travel. In step i a count moves on by 2^i nodes if the number
// of nodes on its way has that binary digit. Every node sends one message in each step; the message is empty
// if no count moves.
int num_count_steps(int num_nodes);
// Returns how many nodes a count moves on from one node to another, with the nodes in a circle.
inline int way_of_count(int num_nodes, int from, int to) { return (to - from + num_nodes) % num_nodes; }
// Returns the messages of all nodes together if every rank has a number for each rank on other nodes. Numbers
// that are 0 do not travel.
MessageCount count_messages(const RanksOfNodes& ranks);

// Returns the messages with rows between nodes, of all ranks together, if every rank has `bytes` for each
// other rank: its own rows (all_gather), a slice (all_to_all, reduce_scatter), or a slice each way
// (all_reduce). Messages longer than piece_bytes are sent in pieces.
MessageCount row_messages(Collective collective, const RanksOfNodes& ranks, uint64_t bytes,
                          size_t piece_bytes);

// Returns the table of docs/clusters.md in Markdown: 8 to 4096 ranks, 8 on a node, 1 KiB for each other rank.
std::string message_table();

}  // namespace moehill

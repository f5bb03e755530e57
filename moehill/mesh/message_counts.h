// This header has the order of the messages by which nodes agree that they are at the same call, and by which
// they learn numbers of each other. It sends nothing itself. How many messages a collective takes is in
// message_formulas_fixture.h.
//
//   agreement_steps(64, 5);   // what node 5 of 64 sends and receives
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
// for them. Each other node has a partner in each step: the node whose number differs in one binary digit, a
// different digit each time. Partners exchange digests, so a digest covers twice as many nodes after each
// step.
std::vector<AgreementStep> agreement_steps(int num_nodes, int node);

// CarriedCount is a number that one rank has for another, as it travels between nodes. In step i it moves on
// by 2^i nodes if the number of nodes on its way has that binary digit.
struct CarriedCount {
  int32_t from = 0, to = 0;
  int64_t count = 0;
};

// Returns how many nodes a count moves on from one node to another, with the nodes in a circle.
inline int way_of_count(int num_nodes, int from, int to) { return (to - from + num_nodes) % num_nodes; }

}  // namespace moehill

// HierarchicalRoute decides in two levels which rows go where, so that a token crosses the network once for
// each node that has one of its experts, however many devices of that node have some. It moves no rows of x;
// HierarchicalExchange moves them.
//
//   HierarchicalRoute route(config, routing, rank, group.nodes());
//   route.bind(routing, token_offsets);
//   route.make(group);             // once in each step
//   route.across().num_sent();     // rows that this device sends to landing ranks
#pragma once

#include <vector>

#include "moehill/mesh/nodes.h"
#include "moehill/parallel/row_route.h"

namespace moehill {

// HierarchicalRoute consists of two routes, one after the other:
//
//   across   a token goes once to every node that holds one of its kept experts, its own node included.
//            There it lands at one rank, which its device's number determines (Nodes::landing_rank)
//   inside   from there it goes once to every rank of the node that holds one of its experts
//
// Sums come back the same way. The landing rank adds the sums of its node's ranks in their order, and the
// token's device adds the sums of the nodes. Received rows are put in the order of all tokens, so a device's
// block plans from the same routing as on `ragged_a2a`.
class HierarchicalRoute {
 public:
  // `nodes` are the nodes of the config's devices.
  HierarchicalRoute(const RunConfig& config, const Routing& routing, int rank, const Nodes& nodes);
  // These three do the same as in RaggedRoute. `group` has all devices.
  void bind(const Routing& routing, std::span<const int64_t> token_offsets);
  void make(Group& group);
  void spoil(const MemoryVisitor& visit);

  const RaggedRoute& across() const { return across_; }
  const RaggedRoute& inside() const { return inside_; }
  // Returns the choices of the received rows [T, k], in the order of all tokens, followed by rows without an
  // expert.
  const Routing& received() const { return received_; }
  // These return [received]: the row in which a token has arrived, and the token of a row.
  const int32_t* row_of_token() const { return row_of_token_.data(); }
  const int32_t* token_of_row() const { return token_of_row_.data(); }

  // Returns the most rows that can land at a device: all tokens of the devices whose landing rank it is.
  static int64_t max_landed(const RunConfig& config, const Nodes& nodes, int rank);

 private:
  void exchange_tokens(Group& node);
  void order_tokens();
  void take_choices(ThreadTeam& team);

  Nodes nodes_;
  int rank_, topk_;
  RaggedRoute across_, inside_;
  std::span<const int64_t> token_offsets_;
  std::vector<int32_t> sent_token_,
      received_token_;  // [rows sent and received inside], numbered over all devices
  std::vector<int32_t> row_of_token_, token_of_row_;
  std::vector<int64_t> next_;  // [ranks of the node] the next row from each
  Routing received_;
};

}  // namespace moehill

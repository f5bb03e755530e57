// HierarchicalRoute: which rows go where in two levels, so that a token crosses the network once for each
// node that wants it, however many of the node's devices do.
#pragma once

#include <vector>

#include "moehill/mesh/nodes.h"
#include "moehill/parallel/row_route.h"

namespace moehill {

// Two routes, one after the other:
//
//   across   a token goes once to every node that holds a kept expert of its own, its own node included: to
//            the rank where its device's rows land there
//   inside   from there it goes once to every rank of the node that holds one of its experts
//
// Sums come back the same ways: the landing rank adds those of its node's ranks, in their order, and the
// token's device adds those of the nodes. What a device's block plans from is the same as on ragged_a2a,
// since received rows are put in the order of all tokens.
class HierarchicalRoute {
 public:
  // `nodes` of the config's devices.
  HierarchicalRoute(const RunConfig& config, const Routing& routing, int rank, const Nodes& nodes);
  // These three are as in RaggedRoute. `group` is that of all devices.
  void bind(const Routing& routing, std::span<const int64_t> token_offsets);
  void make(Group& group);
  void spoil(const MemoryVisitor& visit);

  const RaggedRoute& across() const { return across_; }
  const RaggedRoute& inside() const { return inside_; }
  // [T, k] of the received rows in the order of all tokens, then of nobody.
  const Routing& received() const { return received_; }
  // [received] where the row of such a token is, as rows arrive, and which token a row is.
  const int32_t* row_of_token() const { return row_of_token_.data(); }
  const int32_t* token_of_row() const { return token_of_row_.data(); }

  // The most rows that land at a device: all tokens of the devices that it is the landing rank of.
  static int64_t max_landed(const RunConfig& config, const Nodes& nodes, int rank);

 private:
  void exchange_tokens(Group& node);
  void order_tokens();
  void take_choices(ThreadTeam& team);

  Nodes nodes_;
  int rank_, topk_;
  RaggedRoute across_, inside_;
  std::span<const int64_t> token_offsets_;
  std::vector<int32_t> sent_token_, received_token_;  // [rows sent, received inside] counted over all devices
  std::vector<int32_t> row_of_token_, token_of_row_;
  std::vector<int64_t> next_;  // [ranks of the node] among the rows from each
  Routing received_;
};

}  // namespace moehill

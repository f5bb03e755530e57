// Implements hierarchical_exchange.h. A pass has two levels. The rows of the own tokens go across to the
// nodes of their experts, once to each node (a round trip of all ranks). The rows that have landed go on to
// the ranks inside the node, and the node's sums go back across.
#include "moehill/parallel/hierarchical_exchange.h"

#include "moehill/kernels/rows.h"
#include "moehill/parallel/hierarchical_route.h"
#include "moehill/parallel/wire_buffers.h"

namespace moehill {
namespace {

// HierarchicalExchange has a buffer for each stage of the way.
class HierarchicalExchange final : public RowExchange {
 public:
  HierarchicalExchange(const PathInputs& inputs, const BlockSpec& spec, Group& group)
      : inputs_(inputs),
        scatters_(has_scatter(spec.options.impl)),
        route_(inputs.config, *inputs.routing, inputs.rank, group.nodes()),
        wire_(inputs.config, group, route_.across().max_sent(), route_.across().max_received()) {
    HierarchicalExchange::take_tokens();
    const MoeShape& shape = inputs.config.shape;
    const auto rows = [&](int64_t n) { return ExchangeRows(group.on_node(), n, shape.hidden, shape.dtype); };
    const int64_t received = RaggedRoute::max_received(inputs.config, inputs.rank);
    // These are the buffers on the way: rows sent to a node, landed there, and spread within it; then sums
    // collected, added up and returned.
    sent_ = rows(route_.across().max_sent());
    returned_ = rows(route_.across().max_sent());
    landed_ = rows(route_.across().max_received());
    sums_ = rows(route_.across().max_received());
    spread_ = rows(route_.inside().max_sent());
    collected_ = rows(route_.inside().max_sent());
    x_ = rows(received);
    partial_ = rows(received);
    if (scatters_) by_token_ = rows(received);
    // Only a backward pass receives rows of dy and returns gradients of gate values.
    if (!spec.has_backward()) return;
    y_ = rows(received);
    const auto values = [&](std::vector<float>& of, int64_t n) {
      of.resize(static_cast<size_t>(n * shape.topk));
    };
    values(returned_dp_, route_.across().max_sent());
    values(landed_dp_, route_.across().max_received());
    values(collected_dp_, route_.inside().max_sent());
    values(received_dp_, received);
  }

  void take_tokens() override { route_.bind(*inputs_.routing, inputs_.token_offsets); }
  const Routing& make_route(Group& group) override {
    route_.make(group);
    return route_.received();
  }
  const int32_t* row_of_token() const override { return route_.row_of_token(); }
  // Scatter-add leaves its sums in the order of tokens; the other implementations can write them in the order
  // of rows.
  void describe(RowTransfer& transfer) const override {
    if (!scatters_) transfer.token_of = route_.token_of_row();
  }

  void start_x(Group& group) override { start(group, inputs_.x, x_.view); }
  void start_y(Group& group) override { start(group, read_dy(inputs_), y_.view); }
  // Rows from other nodes may travel in another type, so they are decoded first; then the node hands them on.
  void land(Group& group, int) override {
    group.await(0);
    const std::vector<int64_t>& offsets = route_.across().receive_offsets();
    wire_.unpack(
        group.team(),
        [&](int r) {
          return Range{offsets[static_cast<size_t>(r)], offsets[static_cast<size_t>(r) + 1]};
        },
        landed(landed_));
    gather_rows(group.team(), {landed(landed_), route_.inside().sent_token()}, spread(spread_));
    group.on_node().all_to_all(spread_.view.data, route_.inside().send_offsets(), coming_.data,
                               route_.inside().receive_offsets(), row_bytes(inputs_.config.shape));
  }
  MatView x() const override { return received(x_); }
  MatView y() const override { return received(y_); }
  MatView partial() const override { return received(scatters_ ? by_token_ : partial_); }
  void answer(Group& group, int, const MatView&) override {
    ThreadTeam& team = group.team();
    Group& node = group.on_node();
    // From here the sums go back on the way of the rows: to the landing ranks, which add them, and then
    // across.
    if (scatters_) gather_rows(team, {received(by_token_), route_.token_of_row()}, received(partial_));
    node.all_to_all(partial_.view.data, route_.inside().receive_offsets(), collected_.view.data,
                    route_.inside().send_offsets(), row_bytes(inputs_.config.shape));
    combine_rows(team, {spread(collected_), route_.inside().row_at_device(), nullptr, node.size()},
                 landed(sums_));
    group.answer(0);
  }
  void finish(Group& group, const MatView& base, const MatView& out) override {
    group.finish_round_trip();
    combine_rows(group.team(),
                 {sent(returned_), route_.across().row_at_device(), nullptr, group.size(), base}, out);
  }

  void return_dp(Group& group, float* partial, float* dp) override {
    const int64_t topk = inputs_.config.shape.topk;
    for (int64_t row = 0; row < route_.inside().num_received(); ++row)
      std::copy_n(partial + route_.token_of_row()[row] * topk, topk, received_dp_.data() + row * topk);
    route_.inside().return_values(group.on_node(), received_dp_.data(), collected_dp_, landed_dp_.data());
    route_.across().return_values(group, landed_dp_.data(), returned_dp_, dp);
  }

  void spoil(const MemoryVisitor& visit, bool route_too) override {
    for (const ExchangeRows* rows : {&sent_, &returned_}) visit_matrix(sent(*rows), visit);
    for (const ExchangeRows* rows : {&landed_, &sums_}) visit_matrix(landed(*rows), visit);
    for (const ExchangeRows* rows : {&spread_, &collected_}) visit_matrix(spread(*rows), visit);
    for (const ExchangeRows* rows : {&x_, &y_, &partial_, &by_token_}) {
      if (rows->memory != nullptr) visit_matrix(received(*rows), visit);
    }
    wire_.spoil(visit, route_.across().num_sent(), route_.across().num_received());
    for (std::vector<float>* values : {&returned_dp_, &landed_dp_, &collected_dp_, &received_dp_})
      visit_vector(*values, visit);
    if (route_too) route_.spoil(visit);
  }

 private:
  // These four functions return the part of a buffer that this step uses. Buffers have the size of the
  // largest step.
  MatView sent(const ExchangeRows& rows) const { return rows.view.slice_rows(0, route_.across().num_sent()); }
  MatView landed(const ExchangeRows& rows) const {
    return rows.view.slice_rows(0, route_.across().num_received());
  }
  MatView spread(const ExchangeRows& rows) const {
    return rows.view.slice_rows(0, route_.inside().num_sent());
  }
  MatView received(const ExchangeRows& rows) const {
    return rows.view.slice_rows(0, route_.inside().num_received());
  }

  void start(Group& group, const MatView& all, const MatView& received) {
    coming_ = received;
    const size_t rank = static_cast<size_t>(inputs_.rank);
    const MatView own = all.slice_rows(inputs_.token_offsets[rank], inputs_.token_offsets[rank + 1]);
    wire_.pack(group.team(), {own, route_.across().sent_token()}, route_.across().send_offsets(),
               sent(sent_));
    group.start_round_trip({.row_bytes = row_bytes(inputs_.config.shape),
                            .send_offsets = route_.across().send_offsets(),
                            .receive_offsets = route_.across().receive_offsets(),
                            .sent = sent_.view.data,
                            .received = landed_.view.data,
                            .answer = sums_.view.data,
                            .answered = returned_.view.data,
                            .far = wire_.far()});
  }

  const PathInputs& inputs_;
  const bool scatters_;
  HierarchicalRoute route_;
  WireBuffers wire_;                 // for the rows across
  ExchangeRows sent_, returned_;     // [rows sent across, H]: x or dy, and the sums that come back
  ExchangeRows landed_, sums_;       // [rows landed, H]: rows from all nodes, and the node's sums of them
  ExchangeRows spread_, collected_;  // [rows sent inside, H]: landed rows for each rank, and its sums
  ExchangeRows x_, y_;  // [rows received, H]: the rows that the experts read; y_ is for dy in backward
  ExchangeRows partial_, by_token_;  // [rows received, H] this device's part of y, then of dx
  std::vector<float> returned_dp_, landed_dp_, collected_dp_,
      received_dp_;   // [rows, k] gradients of gate values at each stage of the way back
  MatView coming_{};  // x_ or y_, whichever rows are on their way
};

}  // namespace

std::unique_ptr<RowExchange> make_hierarchical_exchange(const PathInputs& inputs, const BlockSpec& spec,
                                                        Group& group) {
  return std::make_unique<HierarchicalExchange>(inputs, spec, group);
}

}  // namespace moehill

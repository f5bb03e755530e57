// Rows by round trips: packed once on the sender, one copy or message to the receiver, and so back.
#include "moehill/kernels/rows.h"
#include "moehill/parallel/row_exchange.h"

namespace moehill {
namespace {

struct ExchangeRows {
  std::shared_ptr<void> memory;
  MatView view{};

  ExchangeRows() = default;
  ExchangeRows(Group& group, int64_t rows, int64_t cols, DType dtype)
      : memory(group.exchange_memory(static_cast<size_t>(rows * cols) * dtype_bytes(dtype))),
        view{memory.get(), dtype, rows, cols, cols} {}
};

class MessageExchange final : public RowExchange {
 public:
  MessageExchange(const PathInputs& inputs, const RaggedRoute& route, Group& group, int num_waves)
      : route_(route), waves_(inputs.config, route, inputs.rank, num_waves) {
    const MoeShape& shape = inputs.config.shape;
    const Range own = result_tokens(inputs.config, inputs.rank);
    own_x_ = inputs.x.slice_rows(own.begin, own.end);
    own_y_ = inputs.y.slice_rows(own.begin, own.end);
    rank_ = static_cast<size_t>(inputs.rank);
    own_first_ = inputs.config.spread == Spread::fused;
    sent_ = {group, RaggedRoute::max_sent(inputs.config, inputs.rank), shape.hidden, shape.dtype};
    returned_ = {group, sent_.view.rows, shape.hidden, shape.dtype};
    x_ = {group, shape.tokens, shape.hidden, shape.dtype};
    partial_ = {group, shape.tokens, shape.hidden, shape.dtype};
    if (inputs.config.block.pass == Pass::forward_backward)
      y_ = {group, shape.tokens, shape.hidden, shape.dtype};
  }

  bool in_place() const override { return false; }
  const RouteWaves* waves() const override { return &waves_; }
  const int32_t* row_of_token() const override { return waves_.received_row(); }
  Range own_rows() const override {
    return {route_.receive_offsets()[rank_], route_.receive_offsets()[rank_ + 1]};
  }
  void make_index(Group&) override { waves_.make(); }
  void start_x(Group& group) override { start(group, own_x_, x_.view); }
  void start_y(Group& group) override { start(group, own_y_, y_.view); }
  bool has_landed(Group& group, int wave) override { return group.has_landed(wave); }
  void land(Group& group, int wave) override { group.await(wave); }
  MatView x() const override { return x_.view.slice_rows(0, route_.num_received()); }
  MatView y() const override { return y_.view.slice_rows(0, route_.num_received()); }
  MatView partial() const override { return partial_.view.slice_rows(0, route_.num_received()); }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    for (const ExchangeRows* rows : {&sent_, &returned_})
      visit_matrix(rows->view.slice_rows(0, route_.num_sent()), spoil);
    for (const ExchangeRows* rows : {&x_, &y_, &partial_}) {
      if (rows->memory != nullptr) visit_matrix(rows->view.slice_rows(0, route_.num_received()), spoil);
    }
  }

  void spoil_index(const MemoryVisitor& spoil) override { waves_.spoil(spoil); }

  void answer(Group& group, int wave) override { group.answer(wave); }
  void finish_combine(Group& group, const MatView& base, const MatView& out) override {
    group.finish_round_trip();
    const MatView returned = returned_.view.slice_rows(0, route_.num_sent());
    combine_rows(group.team(), {returned, waves_.answered_row(), nullptr, group.size(), base}, out);
  }

 private:
  size_t row_bytes() const {
    return static_cast<size_t>(partial_.view.cols) * dtype_bytes(partial_.view.dtype);
  }
  void start(Group& group, const MatView& own, const MatView& received) {
    gather_rows(group.team(), {own, waves_.sent_token()}, sent_.view.slice_rows(0, route_.num_sent()));
    if (own_first_) {
      const Range rows = own_rows();
      gather_rows(group.team(), {own, waves_.sent_token() + route_.send_offsets()[rank_]},
                  received.slice_rows(rows.begin, rows.end));
    }
    group.start_round_trip({.num_parts = waves_.num_waves(),
                            .row_bytes = row_bytes(),
                            .send_offsets = route_.send_offsets(),
                            .receive_offsets = route_.receive_offsets(),
                            .sent = sent_.view.data,
                            .received = received.data,
                            .answer = partial_.view.data,
                            .answered = returned_.view.data,
                            .sent_cuts = waves_.sent_cuts(),
                            .received_cuts = waves_.received_cuts(),
                            .answer_cuts = waves_.answer_cuts(),
                            .answered_cuts = waves_.answered_cuts()});
  }

  const RaggedRoute& route_;
  RouteWaves waves_;
  MatView own_x_{}, own_y_{};
  size_t rank_ = 0;
  bool own_first_ = false;        // own rows are wanted before the others'
  ExchangeRows sent_, returned_;  // [rows sent, H]
  ExchangeRows x_, y_;            // [rows received, H]; y of backward
  ExchangeRows partial_;          // [rows received, H] this device's part of y, then of dx
};

}  // namespace

std::unique_ptr<RowExchange> make_message_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                   Group& group, int num_waves) {
  return std::make_unique<MessageExchange>(inputs, route, group, num_waves);
}

}  // namespace moehill

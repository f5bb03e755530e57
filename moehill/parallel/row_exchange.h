// RowExchange brings rows of tokens to the devices of their experts, and brings partial sums back. It is for
// paths that shard both tokens and experts: ring_ag_rs, ragged_a2a, fused and hierarchical each implement it,
// and one pass (ShardedPath) runs over any of them. It moves rows and adds them up. It multiplies nothing and
// knows no gate values.
//
//     exchange.start_x(group);                       // rows of x leave
//     ... work that does not need them ...
//     exchange.land(group, wave);                    // rows of this wave are in exchange.x()
//     ... experts write exchange.partial() ...
//     exchange.answer(group, wave, out);
//     exchange.finish(group, base, out);             // out = base + sums of all devices
#pragma once

#include <memory>

#include "moehill/mesh/group.h"
#include "moehill/moe/block.h"

namespace moehill {

// All methods except has_landed() are collective. A pass calls start_x() or start_y(), does any work that
// does not touch the partial sums, calls land() and answer() for single waves or for several at once, and
// then finish(). The "tokens" of a device's block are the rows that it receives.
class RowExchange {
 public:
  virtual ~RowExchange() = default;

  // Tells the exchange that the path's inputs have changed. The exchange reads them anew.
  virtual void take_tokens() = 0;
  // Makes the routes of this step. Returns the routing that the device's block plans from.
  virtual const Routing& make_route(Group& group) = 0;
  // Returns [received]: the row of x() and y() that holds a received token; null: row t holds token t.
  virtual const int32_t* row_of_token() const { return nullptr; }
  // Sets in which waves rows travel, and which own rows are in x() and y() right after a start.
  virtual void describe(RowTransfer&) const {}

  virtual void start_x(Group&) {}
  virtual void start_y(Group&) {}
  // Returns true if land(wave) would return at once.
  virtual bool has_landed(Group&, int /*wave*/) { return false; }
  // Waits until the rows of all waves up to this one are there.
  virtual void land(Group& group, int wave) = 0;
  // These two return the rows that the experts read.
  virtual MatView x() const = 0;
  virtual MatView y() const = 0;
  // Returns [received, H], the place of the device's partial sums.
  virtual MatView partial() const = 0;
  // Returns the part of partial() for the own tokens. The shared expert must write its rows there before the
  // routed experts add to them. Without data the shared expert writes elsewhere, and finish() adds its rows.
  virtual MatView own_partial() const { return {}; }
  // Tells the exchange that the partial sums of the waves up to this one are complete, except the sums of the
  // own tokens. `out` is the one of finish().
  virtual void answer(Group&, int /*wave*/, const MatView& /*out*/) {}
  // Sets out [own tokens, H] = base + the partial sums of all devices.
  virtual void finish(Group& group, const MatView& base, const MatView& out) = 0;
  // Brings the gradients of gate values, partial [received, k], back to the devices of their tokens: dp [own
  // tokens, k].
  virtual void return_dp(Group& group, float* partial, float* dp) = 0;

  // Overwrites the memory that every step has to write again: rows, and if `route_too` also the result of
  // make_route().
  virtual void spoil(const MemoryVisitor& visit, bool route_too) = 0;
};

// ExchangeRows are rows [rows, H] in memory that the peers of the node can reach.
struct ExchangeRows {
  ExchangeRows() = default;
  ExchangeRows(Group& group, int64_t rows, int64_t cols, DType dtype)
      : memory(group.exchange_memory(static_cast<size_t>(rows * cols) * dtype_bytes(dtype))),
        view{memory.get(), dtype, rows, cols, cols} {}

  std::shared_ptr<void> memory;
  MatView view{};
};

inline size_t row_bytes(const MoeShape& shape) {
  return static_cast<size_t>(shape.hidden) * dtype_bytes(shape.dtype);
}

}  // namespace moehill

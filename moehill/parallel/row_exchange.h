// RowExchange brings rows of tokens to the devices of their experts and partial sums back, if tokens and
// experts are sharded. There is one implementation for each of ring_ag_rs, ragged_a2a, fused and
// hierarchical; a pass over any of them is the same (ShardedPath).
// It moves rows and adds them up. It multiplies nothing and knows no gate values.
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

// All methods except has_landed() are collective. A pass is: start_x() or start_y(); any work that does not
// touch the partial sums; land() for single waves or several at once; answer() likewise; finish(). "Tokens"
// of a device's block are the rows that it receives.
class RowExchange {
 public:
  virtual ~RowExchange() = default;

  // Follows a change of the path's inputs. The exchange reads them as they are at each call.
  virtual void take_tokens() = 0;
  // Makes the routes of this step. Returns the routing that the device's block plans from.
  virtual const Routing& make_route(Group& group) = 0;
  // [received] The row of x() and y() that holds a received token; null: they are in order.
  virtual const int32_t* row_of_token() const { return nullptr; }
  // Tells a pass in which waves rows travel, and which own rows are in x() and y() right after a start.
  virtual void describe(RowTransfer&) const {}

  virtual void start_x(Group&) {}
  virtual void start_y(Group&) {}
  // True if land(wave) would return at once.
  virtual bool has_landed(Group&, int /*wave*/) { return false; }
  // Returns as soon as the rows of all waves up to this one are there.
  virtual void land(Group& group, int wave) = 0;
  // The rows that the experts read.
  virtual MatView x() const = 0;
  virtual MatView y() const = 0;
  // [received, H] The device's partial sums go here.
  virtual MatView partial() const = 0;
  // The part of partial() for the own tokens, in which the shared expert's rows have to be before the routed
  // experts add to it. Without data the shared expert has a place of its own, and finish() adds it.
  virtual MatView own_partial() const { return {}; }
  // Tells that the partial sums of the waves up to this one are complete, except for the own tokens'. `out`
  // is as in finish().
  virtual void answer(Group&, int /*wave*/, const MatView& /*out*/) {}
  // Sets out [own tokens, H] = base + the partial sums of all devices.
  virtual void finish(Group& group, const MatView& base, const MatView& out) = 0;
  // Brings the gradients of gate values, partial [received, k], back to the devices of their tokens: dp [own
  // tokens, k].
  virtual void return_dp(Group& group, float* partial, float* dp) = 0;

  // Overwrites what a step leaves and the next one has to make again: rows, and if `route_too` also what
  // make_route() makes.
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

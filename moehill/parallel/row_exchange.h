// RowExchange: how the rows of a pass get to the devices of their experts, and sums back, where tokens and
// experts are sharded.
#pragma once

#include <memory>

#include "moehill/mesh/group.h"
#include "moehill/moe/block.h"

namespace moehill {

// Brings rows of tokens to the devices of their experts, and partial sums back. There is one for each of
// ring_ag_rs, ragged_a2a, fused and hierarchical; a pass over any of them is the same (ShardedPath).
//
// All methods are collective but has_landed(). A pass is start_x() or start_y(), any work that does not touch
// the partial sums, land() wave by wave or some at once, answer() likewise, finish(). What a device's block
// calls tokens are the rows that it receives.
class RowExchange {
 public:
  virtual ~RowExchange() = default;

  // Follows a change of the path's inputs, which it reads as they are at each call.
  virtual void take_tokens() = 0;
  // Makes this step's routes. Returns what the device's block plans from.
  virtual const Routing& make_route(Group& group) = 0;
  // [received] where in x() and y() the row of a received token is; null: in their order.
  virtual const int32_t* row_of_token() const { return nullptr; }
  // Tells a pass of the waves in which rows travel, and of own rows that a start leaves in x() and y().
  virtual void describe(RowTransfer&) const {}

  virtual void start_x(Group&) {}
  virtual void start_y(Group&) {}
  // True if land(wave) would return at once.
  virtual bool has_landed(Group&, int /*wave*/) { return false; }
  // Returns when the rows of the waves up to this are there.
  virtual void land(Group& group, int wave) = 0;
  // The rows that the experts read.
  virtual MatView x() const = 0;
  virtual MatView y() const = 0;
  // [received, H] where the device's partial sums go.
  virtual MatView partial() const = 0;
  // The part of partial() that is of the own tokens, where the shared expert's rows have to be before the
  // routed experts'. Without data: they have a place of their own, and finish() adds them.
  virtual MatView own_partial() const { return {}; }
  // The partial sums of the waves up to this are complete, but for the own tokens'; out as in finish().
  virtual void answer(Group&, int /*wave*/, const MatView& /*out*/) {}
  // out [own tokens, H] = base + the partial sums of all devices.
  virtual void finish(Group& group, const MatView& base, const MatView& out) = 0;
  // Brings the gradients of gate values, partial [received, k], to their tokens' devices: dp [own tokens, k].
  virtual void return_dp(Group& group, float* partial, float* dp) = 0;

  // Spoils what a step leaves and the next one must make again: rows, and with `route_too` what make_route()
  // makes.
  virtual void spoil(const MemoryVisitor& visit, bool route_too) = 0;
};

// Rows [rows, H] in memory that the peers of the node reach.
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

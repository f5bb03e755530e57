// RowExchange: how rows of tokens reach the devices of their experts, and partial sums return, where tokens
// and experts are sharded. One for each of ring_ag_rs, ragged_a2a and fused; a pass over any of them is the
// same (sharded_path.cc).
#pragma once

#include <memory>

#include "moehill/parallel/path.h"

namespace moehill {

// All methods are collective but has_landed(). A pass is start_x() or start_y(), any work that does not touch
// the partial sums, land() wave by wave or some at once, answer() likewise, finish(). What a device's block
// calls tokens are the rows that it receives.
class RowExchange {
 public:
  virtual ~RowExchange() = default;

  // After the path's inputs have changed, which it reads as they are at each call.
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

std::unique_ptr<RowExchange> make_exchange(const PathInputs& inputs, const BlockSpec& spec, Group& group);

}  // namespace moehill

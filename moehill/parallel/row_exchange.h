// RowExchange: how rows of tokens reach the devices of their experts, and partial sums return, along a
// RaggedRoute.
#pragma once

#include <memory>

#include "moehill/parallel/path.h"
#include "moehill/parallel/ragged_route.h"

namespace moehill {

// All methods are collective. A dispatch is start(), any work that does not touch the partial sums, finish();
// a combine is start_combine() with all partial sums but those of the own tokens, the rest of them,
// finish_combine().
class RowExchange {
 public:
  virtual ~RowExchange() = default;
  // Whether rows are read where they are: all_x and all_y then hold the tokens of all devices.
  virtual bool in_place() const = 0;
  // Of the received rows the own ones, which start() leaves in x and y; none if in_place().
  virtual Range own_rows() const = 0;
  // After the route of a step was made.
  virtual void make_index(Group& group) = 0;
  virtual void start_x(Group& group) = 0;
  virtual void start_y(Group& group) = 0;
  virtual void finish(Group& group) = 0;
  // What the experts read: rows in the order of the route, or of all tokens if in_place().
  virtual MatView x() const = 0;
  virtual MatView y() const = 0;
  // [received, H] where the device's partial sums go.
  virtual MatView partial() const = 0;
  virtual void start_combine(Group& group) = 0;
  // out [own tokens, H] = base + the partial sums of all devices, in the order of devices.
  virtual void finish_combine(Group& group, const MatView& base, const MatView& out) = 0;
};

// By all_to_all through exchange memory: what is sent is packed, and what arrives is kept.
std::unique_ptr<RowExchange> make_message_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                   Group& group);
// From the owner's memory, with no copy; null on every rank where the devices do not share an address space.
std::unique_ptr<RowExchange> make_direct_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                  Group& group);

}  // namespace moehill

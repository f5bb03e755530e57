// RowExchange: how rows of tokens reach the devices of their experts, and partial sums return, along a
// RaggedRoute.
#pragma once

#include <memory>

#include "moehill/parallel/path.h"
#include "moehill/parallel/route_waves.h"

namespace moehill {

// All methods are collective but has_landed(). A pass is start_x() or start_y(), any work that does not touch
// the partial sums, land() wave by wave or some at once, answer() likewise, finish_combine().
class RowExchange {
 public:
  virtual ~RowExchange() = default;
  // Whether rows are read where they are: x() and y() then hold the tokens of all devices.
  virtual bool in_place() const = 0;
  // The waves in which rows travel; null: all at once.
  virtual const RouteWaves* waves() const { return nullptr; }
  // [received] where in x() and y() the row of a received token is; null: in the order of the route.
  virtual const int32_t* row_of_token() const = 0;
  // Of the received rows the own ones, which a start leaves in x() and y(); none if in_place().
  virtual Range own_rows() const = 0;
  // After the route of a step was made.
  virtual void make_index(Group& group) = 0;
  virtual void start_x(Group& group) = 0;
  virtual void start_y(Group& group) = 0;
  // Whether land(wave) would return at once.
  virtual bool has_landed(Group&, int) { return false; }
  // Returns when the rows of the waves up to this are there.
  virtual void land(Group& group, int wave) = 0;
  // What the experts read.
  virtual MatView x() const = 0;
  virtual MatView y() const = 0;
  // [received, H] where the device's partial sums go.
  virtual MatView partial() const = 0;
  // The partial sums of the waves up to this are complete, but for the own tokens'.
  virtual void answer(Group& group, int wave) = 0;
  // Rows that a step leaves and the next one must send again.
  virtual void spoil_work_space(const MemoryVisitor& spoil) = 0;
  virtual void spoil_index(const MemoryVisitor& spoil) = 0;  // what make_index() makes
  // out [own tokens, H] = base + the partial sums of all devices, in the order of devices.
  virtual void finish_combine(Group& group, const MatView& base, const MatView& out) = 0;
};

// By round trips through exchange memory: what is sent is packed, and what arrives is kept.
std::unique_ptr<RowExchange> make_message_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                   Group& group, int num_waves);
// From the owner's memory, with no copy; null on every rank where the devices do not share an address space.
std::unique_ptr<RowExchange> make_direct_exchange(const PathInputs& inputs, const RaggedRoute& route,
                                                  Group& group);

}  // namespace moehill

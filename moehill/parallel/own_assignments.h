// The assignments of a device's own tokens, and which of them the capacity drops.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/parallel/run.h"

namespace moehill {

// A view of the routing: assignment i is that of token tokens.begin + i / k.
class OwnAssignments {
 public:
  OwnAssignments(const RunConfig& config, const Routing& routing, Range tokens);

  // Collective where the capacity drops: assignments are dropped in the order of all tokens, so a device must
  // know how many of each expert the devices before it have. Sends E counts a device.
  void drop(Group& group);
  // Spoils what drop() makes: nothing is kept, and nobody has assignments.
  void spoil();

  int64_t size() const { return size_; }
  int32_t expert(int64_t i) const { return routing_->expert[static_cast<size_t>(begin_ + i)]; }
  float weight(int64_t i) const { return routing_->weight[static_cast<size_t>(begin_ + i)]; }
  bool kept(int64_t i) const { return kept_.empty() || kept_[static_cast<size_t>(i)] != 0; }

 private:
  const Routing* routing_;
  int64_t begin_, size_, capacity_rows_ = 0;
  std::vector<char> kept_;               // empty: all
  std::vector<int32_t> count_, counts_;  // [E] of the own tokens, then running; [P, E] of all devices
  std::vector<int64_t> offsets_;         // [P + 1] times E
};

}  // namespace moehill

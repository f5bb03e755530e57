// Move names the purpose of bytes that a device sends in a step. Traffic is counted by it, so that the parts
// can be compared with what the routing makes necessary.
#pragma once

namespace moehill {

// The purpose of bytes that travel.
enum class Move {
  dispatch,   // rows of x and of dy to the devices of their experts
  combine,    // rows of partial sums of y and of dx on the way back
  gradients,  // gradients of weights
  metadata,   // expert ids, gate values and their gradients, counts
};
inline constexpr int kNumMoves = 4;

}  // namespace moehill

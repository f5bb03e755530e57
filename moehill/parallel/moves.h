// Move names the purpose of bytes that a device sends in a step. The paths count traffic by move, so that a
// test can compare each part with the bytes that the routing makes necessary.
#pragma once

namespace moehill {

// Move is the purpose of bytes that travel.
enum class Move {
  dispatch,   // rows of x and of dy to the devices of their experts
  combine,    // rows of partial sums of y and of dx on the way back
  gradients,  // gradients of weights
  metadata,   // expert ids, gate values and their gradients, counts
};
inline constexpr int kNumMoves = 4;

}  // namespace moehill

// Bytes that a device sends in a step, by purpose.
#pragma once

namespace moehill {

// The purpose of bytes that travel.
enum class Move {
  dispatch,   // rows of x and dy to the devices of their experts
  combine,    // rows of partial sums of y and dx
  gradients,  // of weights
  metadata,   // expert ids, gate values and their gradients, counts
};
inline constexpr int kNumMoves = 4;

}  // namespace moehill
